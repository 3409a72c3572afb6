"""Digits: 1,797 real handwritten digits of 8 x 8 pixels that scikit-learn ships; nothing to download.

The test part of the UCI set "Optical recognition of handwritten digits" (Alpaydin & Kaynak, 1998). Upsampled to
64 x 64, because networks trained on photographs need larger inputs.

    python digits.py
"""

from common import Augment, Dataset, Holdout, main, sklearn_digits

DATASET = Dataset(
    name="digits",
    title="Digits",
    domain="handwriting",
    load=sklearn_digits,
    split=Holdout(test=0.2),
    classes=tuple("0123456789"),
    counts={"train": 1_433, "test": 364},
    image_size=(64, 64),
    native=(8, 8),
    augment=Augment(crop=0.7),
    bundled=True,
    get="comes with scikit-learn",
    licence="CC BY 4.0",
    caveats=("The writers are unknown: a writer may be in both train and test.",),
    citation="UCI Machine Learning Repository, doi 10.24432/C50P49",
)

if __name__ == "__main__":
    main(DATASET)
