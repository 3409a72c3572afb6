"""PlantCLEF subset: 11,590 images of 20 kinds of plants from the web, with a train and a val folder.

From NVIDIA's jetson-inference tutorial, a subset of PlantCLEF 2017. The tutorial's text has 10,475 and 1,155
images; its logs and the paper match 10,455 and 1,135 (the class folders seem to have been counted). As in the
paper, which trains at 256 x 256, val is the test set. `test/` (30 images without labels) and labels.txt are not
used. A mirror on Google Drive: 14pUv-ZLHtRR-zCYjznr78mytFcnuR_1D.

    python plantclef.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Official, Published, main, part_folders

# fmt: off
CLASSES = (
    "ash", "beech", "cattail", "cedar", "clover", "cyprus", "daisy", "dandelion", "dogwood", "elm", "fern", "fig",
    "fir", "juniper", "maple", "poison_ivy", "sweetgum", "sycamore", "trout_lily", "tulip_tree",
)
# fmt: on

DATASET = Dataset(
    name="plantclef",
    title="PlantCLEF subset",
    domain="plants",
    load=part_folders(train="train", test="val"),
    split=Official(),
    published=Published(),
    classes=CLASSES,
    counts={"train": 10_455, "test": 1_135},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="unpack PlantCLEF_Subset.tar.gz (github.com/dusty-nv/jetson-inference, docs/pytorch-plants.md) into it",
    sources=(
        File(  # 1.5 GB; no checksum is known
            name="PlantCLEF_Subset.tar.gz",
            mirrors=("https://nvidia.box.com/shared/static/vbsywpw5iqy7r38j78xs0ctalg7jrg79.gz",),
        ),
    ),
    licence="LifeCLEF's terms: research",
    caveats=("Images from the web, unbalanced; a label is a common name that merges several species.",),
    citation="PlantCLEF 2017",
)

if __name__ == "__main__":
    main(DATASET)
