"""Stanford Cars: 16,185 photographs of 196 makes, models and years, official train and test.

Krause et al., 3D object representations for fine-grained categorization, 3dRR workshop at ICCV 2013. The
original address (ai.stanford.edu/~jkrause) has been dead since 2023; github.com/pytorch/vision/issues/7545
(comment 1631441616) lists copies; sizes and checksums below are those of the original files. Layouts:

    cars_train/ cars_test/ devkit/ cars_test_annos_withlabels.mat     the original; the devkit alone has no test labels
    train/<class>/ test/<class>/                                      Kaggle: cyizhuo/stanford-cars-by-classes-folder

Folder names cannot hold the slash of "Ram C/V Cargo Van Minivan 2012", so the fingerprints of the two differ.
Hugging Face's `tanganke/stanford_cars` (the same parts, columns image and label) is not supported.

    python stanford_cars.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Official, cars_mat, main

FILES = (
    ("cars_train.tgz", 979_269_282, "512b227b30e2f0a8aab9e09485786ab4479582073a144998da74d64b801fd288"),
    ("cars_test.tgz", 977_350_468, "bffea656d6f425cba3c91c6d83336e4c5f86c6cffd8975b0f375d3a10da8e243"),
    ("car_devkit.tgz", 330_960, "b97deb463af7d58b6bfaa18b2a4de9829f0f79e8ce663dfa9261bf7810e9accd"),
    ("cars_test_annos_withlabels.mat", 185_758, "790f75be8ea34eeded134cc559332baf23e30e91367e9ddca97d26ed9b895f05"),
)

DATASET = Dataset(
    name="stanford_cars",
    title="Stanford Cars",
    domain="natural",
    load=cars_mat,
    split=Official(),
    classes=196,
    counts={"train": 8_144, "test": 8_041},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="put cars_train/, cars_test/, devkit/ and cars_test_annos_withlabels.mat, or train/ and test/, into it",
    sources=tuple(
        File(
            name=name,
            bytes=size,
            digest=f"sha256:{sha256}",
            steps="the original address is dead: get the four original files as described in pytorch/vision issue 7545",
        )
        for name, size, sha256 in FILES
    ),
    licence="unknown; research",
    citation="Krause et al. 2013",
)

if __name__ == "__main__":
    main(DATASET)
