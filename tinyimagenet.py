"""TinyImageNet: 110,000 images of 64 x 64 pixels, 200 of ImageNet's classes, 500 for training and 50 for test each.

From Stanford's course CS231n. The labels of its test set were never published: as in the paper, its validation set
is our test set, and validation is carved from train. About 2 % of the images are grey. In train every class has a
subfolder `images/`, val is flat, and `wnids.txt` is not sorted (our classes are, as in ImageNet).

On Hugging Face (`zh-plus/tiny-imagenet`) our test is called valid.

    python tinyimagenet.py -model convnext_tiny -bs 64
"""

from common import Augment, Dataset, File, Official, main, tiny_imagenet

DATASET = Dataset(
    name="tinyimagenet",
    title="TinyImageNet",
    domain="natural",
    load=tiny_imagenet,
    split=Official(),
    classes=200,
    counts={"train": 100_000, "test": 10_000},
    image_size=(128, 128),
    native=(64, 64),
    augment=Augment(crop=0.5, flip=True),
    get="unpack tiny-imagenet-200.zip (cs231n.stanford.edu) so that it holds tiny-imagenet-200/",
    sources=(
        File(
            name="tiny-imagenet-200.zip",
            mirrors=("http://cs231n.stanford.edu/tiny-imagenet-200.zip",),
            bytes=248_100_043,
            digest="md5:90528d7ca1a48142e341f4ef8d21d0de",
        ),
    ),
    licence="ImageNet's terms: research only",
    caveats=(
        "Classes and training images are ImageNet's: pretrained weights were trained on them.",
        "Test is the official validation set; whether its images are in ImageNet's training set is unknown.",
    ),
    citation="CS231n, Stanford",
)

if __name__ == "__main__":
    main(DATASET)
