"""RSNA Pneumonia: 26,684 chest X-rays of 1024 x 1024 pixels, 6,012 with an opacity typical of pneumonia.

Shih et al., Radiology: Artificial Intelligence 2019; stage 2 of Kaggle's 2018 challenge, with images from NIH
ChestX-ray14. DICOM, or converted to PNG or JPEG under the same names. The 3,000 test images of stage 2 have no
labels. RSNA also offers a download without Kaggle (rsna.org, pneumonia detection challenge 2018), and there is a
JPEG copy (academictorrents 95588a735c9ae4d123f3ca408e56570409bcf2a9); their layouts were not checked.

The table has a row per box, 30,227 in total, 9,555 of them positive (31.6 %). The paper splits rows, so 59 % of its
positive test rows have an image that is also in train; we use every image once. A `patientId` identifies an image,
not a patient: put RSNA's mapping, pneumonia-challenge-dataset-mappings_2018.json (on
s3.amazonaws.com/east1.public.rsna.org/AI/2018), beside the table to group images by patient.

"No pneumonia" includes a third class, neither opaque nor normal, listed in stage_2_detailed_class_info.csv (also a
row per box; not read). 14,511 images are PA and 12,173 AP, which torchxrayvision's loader leaves out by default;
15,166 are of men, 11,518 of women.

    python rsna_pneumonia.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Holdout, Paper, main, rsna_boxes, rsna_csv

KAGGLE = "log in at kaggle.com, accept the rules of rsna-pneumonia-detection-challenge and download its data"

DATASET = Dataset(
    name="rsna_pneumonia",
    title="RSNA Pneumonia",
    domain="radiology",
    load=rsna_csv,
    split=Holdout(test=0.2),
    paper=Paper(
        note="As in the paper, a sample is a row of the table, so images of test are also in train.",
        load=rsna_boxes,
        split=Holdout(test=0.2, groups=False),
        counts={"train": 24_181, "test": 6_046},
    ),
    classes=("no pneumonia", "pneumonia"),
    counts={"train": 21_346, "test": 5_338},
    image_size=(224, 224),
    augment=Augment(crop=0.7, flip=True),
    metric="auroc",
    get="put stage_2_train_images/ and stage_2_train_labels.csv (kaggle.com/c/rsna-pneumonia-detection-challenge) into it",
    sources=(
        File(name="stage_2_train_images.zip", into="stage_2_train_images", steps=KAGGLE),
        File(name="stage_2_train_labels.csv", steps=KAGGLE),
        File(
            name="pneumonia-challenge-dataset-mappings_2018.json",
            mirrors=(
                "https://s3.amazonaws.com/east1.public.rsna.org/AI/2018/pneumonia-challenge-dataset-mappings_2018.json",
            ),
            digest="sha256:803ce79e3bc9c66d3631738e91e62e1175730e98ad1415e8dc4d6292ba10bf27",
        ),
    ),
    licence="academic research, education and other purposes, commercial or not, with attribution",
    caveats=(
        "Sicker patients are X-rayed lying down (AP, 46 %): part of the score may come from the view.",
        "Without RSNA's mapping to the NIH's patients, a patient may be in both train and test.",
        "22.5 % of the images are positive: accuracy alone is misleading.",
    ),
    citation="Shih et al. 2019",
)

if __name__ == "__main__":
    main(DATASET)
