"""CUB-200-2011: 11,788 photographs of 200 kinds of birds, official train and test, about thirty per kind in each.

Wah et al., The Caltech-UCSD Birds-200-2011 dataset, CNS-TR-2011-001. Boxes, parts, attributes and
segmentations (a separate file) are not used. A few images are grey. The paper trains at 256 x 256 without
random augmentation. The dataset's page warned of an overlap with ImageNet; by MD5, 22 or 23 test images are in
ImageNet's training set (guopei.github.io/2016/Overlap-Between-Imagenet-And-CUB).

Download it from Caltech Data, below (www.vision.caltech.edu/visipedia-data is gone), or the same file from
Google Drive, 1hbzc_P1FuxMkcabkgn9ZKinBwW683j45. Copies on Hugging Face:
`bentrevett/caltech-ucsd-birds-200-2011` and `dpdl-benchmark/caltech_birds2011` with the official parts,
`birder-project/CUB_200_2011` repacked as folders.

    python cub200.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Official, Published, cub_lists, main

DATASET = Dataset(
    name="cub200",
    title="CUB-200-2011",
    domain="natural",
    load=cub_lists,
    split=Official(),
    published=Published(),
    classes=200,
    counts={"train": 5_994, "test": 5_794},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="unpack CUB_200_2011.tgz (data.caltech.edu/records/65de6-vp158) so that it holds CUB_200_2011/",
    sources=(
        File(
            name="CUB_200_2011.tgz",
            mirrors=("https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",),
            bytes=1_150_585_339,
            digest="sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",
        ),
    ),
    licence="none stated",
    caveats=("22 or 23 test images (0.4 %) are byte-identical to training images of ImageNet.",),
    citation="Wah et al. 2011",
)

if __name__ == "__main__":
    main(DATASET)
