"""Describable Textures (DTD): 5,640 images, 120 of each of 47 textures, ten official folds of train, val and test.

Cimpoi et al., Describing textures in the wild, CVPR 2014. The dataset's own protocol is the mean over the ten
folds (`--fold 1` ... `--fold 10`); the paper uses only the first, and drops its validation set. Others
merge train and val to 3,760 images (`tanganke/dtd`): their figures are not comparable with ours on 1,880. The
label is the image's key attribute; an image may have others as well (labels/labels_joint_anno.txt, not read).

    python dtd.py -model convnext_tiny --fold 2
"""

from common import Augment, Dataset, File, Official, Paper, Published, dtd_lists, main, parts_as

DATASET = Dataset(
    name="dtd",
    title="DTD",
    domain="textures",
    load=dtd_lists,
    split=Official(),
    paper=Paper(
        note="The paper's train and test; the official validation set is dropped, ours is carved from train.",
        load=parts_as(dtd_lists, val=""),
        counts={"train": 1_880, "test": 1_880},
    ),
    published=Published(trivial=True),
    classes=47,
    counts={"train": 1_880, "val": 1_880, "test": 1_880},
    folds=10,
    fold=1,
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="unpack dtd-r1.0.1.tar.gz (www.robots.ox.ac.uk/~vgg/data/dtd) so that it holds dtd/",
    sources=(
        File(
            name="dtd-r1.0.1.tar.gz",
            mirrors=("https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",),
            bytes=625_239_812,
            digest="sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",
        ),
    ),
    licence="research",
    caveats=("One of ten folds: the dataset's protocol is the mean over all.",),
    citation="Cimpoi et al. 2014",
)

if __name__ == "__main__":
    main(DATASET)
