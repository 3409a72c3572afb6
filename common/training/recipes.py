"""How a network is trained, as data. Why these values: LOG.md, with the runs that chose them."""

from dataclasses import replace
from math import ceil
from typing import Any

from ..models.registry import Backbone
from ..spec import Augment, Dataset, Phase, Published, Recipe, RunConfig

EPOCHS = 10
MIN_STEPS = 500  # a small set is seen more often
PAPER_MOST = 1_000  # epochs of a phase; the published code has no limit but patience

# Changes of training images that are not the sheet's, by the name of `--augment`
AUGMENTS = {
    "none": Augment(),
    "trivial": Augment(trivial=True),  # Mueller & Hutter 2021, arXiv 2103.10158
    "shift_flip": Augment(shift=1 / 8, flip=True),  # four of CIFAR's pixels: He et al. 2016, section 4.2
}

# The probe trains nothing: its weights are a closed form, its penalty is chosen on validation
PROBE = Recipe(name="probe", phases=(), eval_every=0)
UNUSED_BY_PROBE = (
    "micro_bs", "epochs", "steps", "optimizer", "lr", "weight_decay", "class_weights", "balanced_sampling", "eval_every", "augment",
    "compile", "tune", "save_every",
)  # fmt: skip

# From scratch on 32 x 32 pixels, by `Backbone.scratch`: the published settings of
# github.com/xyfJASON/image-backbones-pytorch at acb3469, for convolutional networks and for those with attention
SCRATCH_STEPS, SCRATCH_EVERY, SCRATCH_SAVE = 64_000, 1_000, 5_000
SCRATCH_BATCH = {"sgd": 256, "adam": 512}
SCRATCH = {
    "sgd": Phase(steps=SCRATCH_STEPS, optimizer="sgd", lr=0.1, weight_decay=5e-4, decay_all=True, floor=0.01),
    "adam": Phase(
        steps=SCRATCH_STEPS, optimizer="adam", lr=1e-3, weight_decay=5e-5, decay_all=True, floor=0.01
    ),
}


def defaults(protocol: str, row: Backbone, dataset: Dataset) -> dict[str, Any]:
    """What a protocol takes where the user asks for nothing else."""
    if protocol == "paper":
        return {
            "weights": "imagenet",
            "batch_size": 32,
            "image_size": published(dataset).image_size,
            "augment": "trivial" if published(dataset).trivial else "none",
        }
    if protocol == "scratch":
        return {
            "weights": "none",
            "batch_size": SCRATCH_BATCH[row.scratch],
            "image_size": dataset.native or dataset.image_size,
            "augment": "shift_flip",
        }
    return {
        "weights": "imagenet",
        "batch_size": 32,
        "image_size": dataset.image_size,
        "augment": "none" if protocol == "probe" else "sheet",
    }


def published(dataset: Dataset) -> Published:
    """How the published code trains on it; on what it has no script for, as on most."""
    return dataset.published or Published()


def from_config(config: RunConfig, row: Backbone, epoch: int) -> Recipe:
    """The protocol's recipe with what was asked for in its place; an epoch is so many steps."""
    if config.protocol == "scratch":
        base = Recipe(
            name="scratch", phases=(SCRATCH[row.scratch],), eval_every=SCRATCH_EVERY, test_last=True
        )
    elif config.protocol == "paper":
        base = paper(published(config.dataset), epoch)
    else:
        base = clean(default_epochs(epoch), epoch, row.lr)
    ours = {
        "steps": config.epochs * epoch if config.epochs else config.steps,
        "optimizer": config.optimizer,
        "lr": None if config.lr == "auto" else config.lr,
        "weight_decay": config.weight_decay,
    }
    changes = {name: value for name, value in ours.items() if value is not None}
    return replace(
        base,
        phases=tuple(replace(phase, **changes) for phase in base.phases),
        eval_every=config.eval_every or base.eval_every,
        class_weights=config.class_weights,
    )


def paper(how: Published, epoch: int) -> Recipe:
    """arXiv 2406.05612 as its code has it: AdamW, then from the best epoch SGD, each until its patience is over.

    The best epoch is chosen on the test set. Mended are: the forward pass runs under autocast; a score is that of the
    whole test set, not the mean of its batches; patience counts whole epochs without a better score (some scripts stop
    one too early, in others a tie is better); CIFAR's second phase runs; images are normalised as the weights want it,
    test as train; `-model` and `-bs` are obeyed everywhere; there is a seed.
    """
    return Recipe(
        name="paper",
        phases=(
            Phase(
                steps=PAPER_MOST * epoch,
                lr=how.lr,
                weight_decay=0.01,
                decay_all=True,
                schedule="constant",
                patience=how.patience[0],
            ),
            Phase(
                steps=PAPER_MOST * epoch,
                optimizer="sgd",
                lr=1e-3,
                schedule="constant",
                patience=how.patience[1],
            ),
        ),
        eval_every=epoch,
        choose_on="test",
        test_last=True,
    )


def clean(epochs: int, epoch: int, lr: float) -> Recipe:
    """The default: AdamW under a cosine with warm-up, labels smoothed.

    Few images validate, and they take a lucky early epoch for the best; while the rate falls, later weights are better: of those
    within one standard error of the best score the last are kept (Breiman et al. 1984, section 3.4.3; LOG.md).
    """
    return Recipe(
        name="clean",
        phases=(Phase(steps=epochs * epoch, lr=lr, weight_decay=0.05, warmup=0.1),),
        eval_every=epoch,
        label_smoothing=0.1,
        within=1.0,
    )


def default_epochs(steps_per_epoch: int) -> int:
    return max(EPOCHS, ceil(MIN_STEPS / steps_per_epoch))


def save_every(recipe: Recipe) -> int:
    """Steps between two checkpoints."""
    return SCRATCH_SAVE if recipe.name == "scratch" else recipe.eval_every
