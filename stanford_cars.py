"""Stanford Cars: 16,185 photographs of 196 makes, models and years, official train and test.

Krause et al., 3D object representations for fine-grained categorization, 3dRR workshop at ICCV 2013. The original
address has been dead since 2023 (github.com/pytorch/vision/issues/7545 tells where copies are). Both layouts are read:

    cars_train/ cars_test/ devkit/ cars_test_annos_withlabels.mat     the original; the devkit alone has no test labels
    train/<class>/ test/<class>/                                      Kaggle: cyizhuo/stanford-cars-by-classes-folder

Folder names cannot hold the slash of "Ram C/V Cargo Van Minivan 2012", so the fingerprints of the two differ.

    python stanford_cars.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, Official, cars_mat, main

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
    licence="not known; research",
    citation="Krause et al. 2013",
)

if __name__ == "__main__":
    main(DATASET)
