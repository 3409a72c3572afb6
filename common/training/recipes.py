"""How a network is trained, as data. Why these values: LOG.md, with the runs that chose them."""

from math import ceil

from ..spec import Phase, Recipe

EPOCHS = 10
MIN_STEPS = 500  # a small set is seen more often


def epochs_for(steps_per_epoch: int) -> int:
    return max(EPOCHS, ceil(MIN_STEPS / steps_per_epoch))


def clean(epochs: int, lr: float | None = None) -> Recipe:
    """The default: AdamW under a cosine with warm-up, the new head faster than the rest."""
    return Recipe(
        name="clean",
        phases=(Phase(epochs=epochs, lr=lr or 1e-3, head_lr=3.0, weight_decay=0.05, warmup=0.1),),
        label_smoothing=0.1,
        ema=0.998,
    )
