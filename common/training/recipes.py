"""How a network is trained, as data. Why these values: LOG.md, with the runs that chose them."""

from math import ceil

from ..spec import Augment, Phase, Recipe

EPOCHS = 10
MIN_STEPS = 500  # a small set is seen more often

# Changes of training images that are not the sheet's, by the name of `--augment`
AUGMENTS = {
    "none": Augment(),
    "trivial": Augment(trivial=True),  # Mueller & Hutter 2021, arXiv 2103.10158
    "shift_flip": Augment(shift=1 / 8, flip=True),  # four of CIFAR's pixels: He et al. 2016, section 4.2
}


def epochs_for(steps_per_epoch: int) -> int:
    return max(EPOCHS, ceil(MIN_STEPS / steps_per_epoch))


def clean(epochs: int, lr: float) -> Recipe:
    """The default: AdamW under a cosine with warm-up, labels smoothed."""
    return Recipe(
        name="clean",
        phases=(Phase(epochs=epochs, lr=lr, weight_decay=0.05, warmup=0.1),),
        label_smoothing=0.1,
    )
