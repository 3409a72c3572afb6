"""Stanford Dogs: 20,580 photographs of 120 breeds, official train (100 of each) and test (unbalanced).

Khosla et al., Novel dataset for fine-grained image categorization, FGVC workshop at CVPR 2011. Built from
ImageNet's images and annotations: for example, n02085620_2650, n02085620_4919 and n02085782_191 are in a list of
a tenth of ImageNet's training images (10percent.txt of google-research/simclr); their parts were not checked.
ImageNet weights were trained on test images: do not average these results with those of other datasets. The
boxes (annotation.tar) are not used.

    python stanford_dogs.py -model convnext_tiny -bs 32
"""

from common import Augment, Dataset, File, Official, dogs_mat, main

DATASET = Dataset(
    name="stanford_dogs",
    title="Stanford Dogs",
    domain="natural",
    load=dogs_mat,
    split=Official(),
    classes=120,
    counts={"train": 12_000, "test": 8_580},
    image_size=(224, 224),
    augment=Augment(crop=0.5, flip=True),
    get="unpack images.tar and lists.tar (vision.stanford.edu/aditya86/ImageNetDogs) side by side into it",
    sources=tuple(
        File(
            name=name,
            mirrors=(f"http://vision.stanford.edu/aditya86/ImageNetDogs/{name}",),
            bytes=size,
            digest=f"sha256:{sha256}",
        )
        for name, size, sha256 in (
            ("images.tar", 793_579_520, "a443fc2f9a851aa1a7b8e4fa4af94b8459fce2c9f5a2f4dd4669cf9673a4ec58"),
            ("lists.tar", 481_280, "34b47cacd9a98b5d150e084f24d29391c084c55272295ec65c85651bc35f4d6c"),
        )
    ),
    licence="ImageNet's terms: research only",
    caveats=("Built from ImageNet's training images: ImageNet weights were trained on much of this test set.",),
    citation="Khosla et al. 2011",
)

if __name__ == "__main__":
    main(DATASET)
