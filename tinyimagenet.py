"""TinyImageNet: 110,000 images of 64 x 64 pixels, 200 of ImageNet's classes, 500 + 50 of each.

The course project of Stanford's CS231n. The labels of its test set were never published: as in the paper, its
validation set is our test, and validation is carved from train. About 2 % of the images are grey. Traps of the
layout: train has a folder `images/` below every class, val is flat, and the order of `wnids.txt` is not sorted (ours
is, as in ImageNet).

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
        "Classes and training images are ImageNet's: pretrained weights have seen them with labels.",
        "Test is the official validation set; whether ImageNet's train holds its images too is not known.",
    ),
    citation="CS231n, Stanford",
)

if __name__ == "__main__":
    main(DATASET)
