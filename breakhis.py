"""BreakHis: 7,909 microscope images of breast tumours of 82 patients, benign or malignant, at four magnifications.

Spanhol et al., A dataset for breast cancer histopathological image classification, IEEE TBME 2016. Images of
700 x 460 pixels; the paper trains at 448 x 672 (`--image_size 448x672`), we train at half that size. The official page
lists 652 benign images at 40x, which does not add up; there are 625. The paper counts nine more at every magnification;
we do not know why.

The paper splits images at random, so a slide is in both train and test. We group by patient, the number in the file
name; letters after it distinguish slides of one patient, and slide 14-13412 occurs as DC and, with the same images, as
LC. `--fold 1` ... `--fold 5` use the authors' folds by patient: put their dsfold1.txt ... beside the data.

Benign and malignant: 625 and 1,370 at 40x, 644 and 1,437 at 100x, 623 and 1,390 at 200x, 588 and 1,232 at
400x; 2,480 and 5,429 in total. www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz works without the form, but its
owners ask for registration, and so do we. Copies: Kaggle (login), `1aurent/BreakHis` on Hugging Face.
kaiko-eva's split by patient covers only 40x and four of the eight types (1,132 and 339 images).

    python breakhis.py --magnification 200x -model convnext_tiny
"""

from common import Augment, Dataset, File, Holdout, Paper, Published, breakhis_slides, main

DATASETS = tuple(
    Dataset(
        name=f"breakhis-{magnification}",
        title=f"BreakHis {magnification}",
        domain="histopathology",
        load=breakhis_slides(magnification),
        split=Holdout(test=0.3),
        paper=Paper(
            note="As in the paper, patients are in both train and test; the paper counts nine images more than there are.",
            split=Holdout(test=0.3, groups=False),
            counts={"train": train, "test": test},
        ),
        published=Published(image_size=(448, 672)),
        classes=("benign", "malignant"),
        counts={"train": train, "test": test},
        folds=5,
        variant=("magnification", magnification),
        image_size=(224, 336),
        native=(460, 700),
        augment=Augment(crop=0.7, dihedral=True),
        metric="balanced_accuracy",
        get="unpack BreaKHis_v1.tar.gz (web.inf.ufpr.br/vri, after registration) so that it holds BreaKHis_v1/",
        sources=(
            File(  # 4 GB; no checksum is known
                name="BreaKHis_v1.tar.gz",
                steps="register at web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis and follow the link that it sends",
            ),
        ),
        licence="non-commercial research; one source says CC BY 4.0",
        caveats=(
            "31 % benign, 69 % malignant: accuracy alone is misleading.",
            "Grouped by patient: scores are lower than with a random split, and valid for new patients.",
        ),
        citation="Spanhol et al. 2016",
    )
    for magnification, train, test in (
        ("40x", 1_396, 599),
        ("100x", 1_455, 626),
        ("200x", 1_409, 604),
        ("400x", 1_273, 547),
    )
)

if __name__ == "__main__":
    main(DATASETS)
