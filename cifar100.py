"""CIFAR-100: 60,000 images of 32 x 32 pixels, a hundred kinds of things, official train and test, balanced.

Krizhevsky, Learning multiple layers of features from tiny images, 2009. Labels are the hundred fine ones, not the
twenty coarse ones. The paper upsamples to 256 x 256 (`--image_size 256`) and normalises with CIFAR-10's constants; we
use 128 x 128, four times the native size. Its second phase, SGD, never runs: the script does not reset a counter.

ciFAIR-100 (cvjena.github.io/cifair) has a test set without the duplicates; its pickles lack `filenames`, which we do
not need. The binary version (cifar-100-binary.tar.gz) and Hugging Face's `uoft-cs/cifar100` (columns img,
fine_label, coarse_label) are not supported.

    python cifar100.py -model resnet50 -bs 64
"""

from common import Augment, Dataset, File, Official, Published, cifar100_pickles, main

DATASET = Dataset(
    name="cifar100",
    title="CIFAR-100",
    domain="natural",
    load=cifar100_pickles,
    split=Official(),
    published=Published(trivial=True),
    classes=100,
    counts={"train": 50_000, "test": 10_000},
    image_size=(128, 128),
    native=(32, 32),
    augment=Augment(crop=0.5, flip=True),
    get="unpack cifar-100-python.tar.gz (www.cs.toronto.edu/~kriz) so that it holds cifar-100-python/",
    sources=(
        File(
            name="cifar-100-python.tar.gz",
            mirrors=("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",),
            bytes=169_001_437,
            # md5 eb9058c3a382ffc7106e4002c42a8d85
            digest="sha256:85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        ),
    ),
    licence="none stated",
    caveats=("10 % of the test images have near-duplicates in train (ciFAIR, arXiv 1902.00423).",),
    citation="Krizhevsky 2009",
)

if __name__ == "__main__":
    main(DATASET)
