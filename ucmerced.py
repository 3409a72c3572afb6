"""UC Merced Land Use: 2,100 aerial images (1 foot per pixel), 100 of each of 21 kinds of land use, no official split.

Yang & Newsam, Bag-of-visual-words and spatial extensions for land-use classification, ACM GIS 2010. 44 of the
images (Images/<class>/<class>NN.tif) are not exactly 256 x 256, so there is no `native` size. The
paper trains at 256 x 256 and holds out a fifth of every class, 420 images. There are fixed public lists
(torchgeo, arXiv 1911.06721), which we do not use: uc_merced-{train,val,test}.txt, md5 f2fb12eb, 11ecabfc,
046aff88. Rewritten as path,label,part they work with `--split_file`. On Hugging Face: `blanchon/UC_Merced`.

    python ucmerced.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Holdout, Published, class_folders, main

# fmt: off
CLASSES = (
    "agricultural", "airplane", "baseballdiamond", "beach", "buildings", "chaparral", "denseresidential", "forest",
    "freeway", "golfcourse", "harbor", "intersection", "mediumresidential", "mobilehomepark", "overpass",
    "parkinglot", "river", "runway", "sparseresidential", "storagetanks", "tenniscourt",
)
# fmt: on

DATASET = Dataset(
    name="ucmerced",
    title="UC Merced",
    domain="remote sensing",
    load=class_folders,
    split=Holdout(test=0.2),
    published=Published(),
    classes=CLASSES,
    counts={"train": 1_680, "test": 420},
    image_size=(256, 256),
    augment=Augment(crop=0.7, dihedral=True),
    get="unpack UCMerced_LandUse.zip (weegee.vision.ucmerced.edu/datasets) so that it holds UCMerced_LandUse/",
    sources=(
        File(
            name="UCMerced_LandUse.zip",
            mirrors=(
                "https://huggingface.co/datasets/torchgeo/ucmerced/resolve/7c5ef3454d9b1cccfa7ccde0c01fc8f00a45909a/UCMerced_LandUse.zip",
                "http://weegee.vision.ucmerced.edu/datasets/UCMerced_LandUse.zip",
            ),
            bytes=332_468_434,
            digest="sha256:06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
        ),
    ),
    licence="public domain (USGS)",
    caveats=(
        "Images of a class were cut from a few large scenes: a random split puts neighbours on both sides.",
        "420 test images: each counts 0.24 points, and most networks miss only a few.",
    ),
    citation="Yang & Newsam 2010",
)

if __name__ == "__main__":
    main(DATASET)
