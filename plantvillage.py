"""PlantVillage: 55,448 photographs of single leaves, 38 pairs of plant and disease, and a class of backgrounds.

Hughes & Salathé, arXiv 1511.08060; here the edition of Mendeley Data tywbtsjrjv without augmentation (never
split the augmented one, 61,486 images, at random). The paper holds out a fifth of every class: 11,105 images,
256 x 256. Class sizes range from 152 to 5,507; suffixes vary, and one image is RGBA. 54,305 images are of
leaves, 1,143 of backgrounds (`Background_without_leaves`). Others leave out the backgrounds (38 classes); tfds
counts 54,303, because it reads only .jpg. The archive's folder is spelt Plant_leave_...; any name works.

Leaves were photographed several times. The map from images to leaves covers the 38 classes under
their original names (huggingface.co/datasets/mohanty/PlantVillage, `raw/color` and `leaf_grouping/leaf-map.json`):
with these, and `--subset`, images of a leaf stay together. The Mendeley edition renumbers the files, so the map
does not apply to it.

The original edition's `raw` has the images in colour, grey and segmented; those in colour are read. Its map covers
41,111 of 54,305 images; splits/color_{train,test}.txt is the authors' split, by leaf. It is also on GitHub
(spMohanty/PlantVillage-Dataset). If a leaf is in several parts, scores near 100 % are expected and mean little
for new leaves.

    python plantvillage.py -model convnext_tiny -bs 64
"""

from common import Augment, Dataset, File, Holdout, Paper, Published, leaf_folders, main

DATASET = Dataset(
    name="plantvillage",
    title="PlantVillage",
    domain="plants",
    load=leaf_folders,
    split=Holdout(test=0.2),
    paper=Paper(
        note="As in the paper, images of one leaf are in both train and test.",
        split=Holdout(test=0.2, groups=False),
        counts={"train": 44_343, "test": 11_105},
    ),
    published=Published(),
    classes=39,
    counts={"train": 44_343, "test": 11_105},
    image_size=(256, 256),
    augment=Augment(crop=0.5, flip=True),
    get="unpack Plant_leaf_diseases_dataset_without_augmentation.zip (data.mendeley.com/datasets/tywbtsjrjv) into it",
    sources=(
        # with the leaf map, a manual download: mohanty/PlantVillage at 9e97599868962bd0079b8db4b7f1efa9185fa1e7, data.zip,
        # 2,184,723,441 bytes, sha256 fba30c6a7965e49be94b47a62f8aff6cfb1c35c27f475f22092b56db41745e84
        File(
            name="Plant_leaf_diseases_dataset_without_augmentation.zip",
            mirrors=(
                "https://data.mendeley.com/public-files/datasets/tywbtsjrjv/files/d5652a28-c1d8-4b76-97f3-72fb80f94efc/file_downloaded",
            ),
            bytes=868_032_562,
            digest="sha256:ac3432453984d02a86197987e775a5429d0d59e7cc7c35bcf5a8f50349b90ff0",
        ),
    ),
    licence="stated differently: CC0, CC BY 4.0, CC BY-SA 3.0",
    caveats=(
        "Split at random, 99.8 % of the test images whose leaf is known have an image of that leaf in train.",
        "Eight background pixels predict the class of 49 % (arXiv 2206.04374); 21 pairs are byte-identical.",
    ),
    citation="arXiv 1511.08060",
)

if __name__ == "__main__":
    main(DATASET)
