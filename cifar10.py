"""CIFAR-10: 60,000 images of 32 x 32 pixels, ten kinds of animals and vehicles, official train and test.

Krizhevsky, Learning multiple layers of features from tiny images, 2009. The paper upsamples to 256 x 256
(`--image_size 256`), we to 128 x 128, four times the native size.

All classes have the same size. ciFAIR-10 (cvjena.github.io/cifair) has a test set without the duplicates; its
pickles lack `filenames`, which we do not need. The binary version (cifar-10-binary.tar.gz) and Hugging Face's
`uoft-cs/cifar10` (columns img, label) are not supported.

    python cifar10.py -model resnet50 -bs 64
"""

from common import Augment, Dataset, File, Official, Published, cifar_batches, main

DATASET = Dataset(
    name="cifar10",
    title="CIFAR-10",
    domain="natural",
    load=cifar_batches,
    split=Official(),
    published=Published(trivial=True),
    classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    counts={"train": 50_000, "test": 10_000},
    image_size=(128, 128),
    native=(32, 32),
    augment=Augment(crop=0.5, flip=True),
    get="unpack cifar-10-python.tar.gz (www.cs.toronto.edu/~kriz) so that it holds cifar-10-batches-py/",
    sources=(
        File(
            name="cifar-10-python.tar.gz",
            mirrors=("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            bytes=170_498_071,
            # md5 c58f30108f718f92721af3b95e74349a
            digest="sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
    ),
    licence="none stated",
    caveats=("3.3 % of the test images have near-duplicates in train (ciFAIR, arXiv 1902.00423).",),
    citation="Krizhevsky 2009",
)

if __name__ == "__main__":
    main(DATASET)
