"""The recipe of each protocol. LOG.md has the runs behind the values."""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from ..models.registry import Backbone
from ..spec import Augment, Dataset, Phase, Published, Recipe, RunConfig

EPOCHS = 10
MIN_STEPS = 500  # a small training set has more epochs
PAPER_MAX_EPOCHS = 1_000  # per phase; the published code is limited only by its patience

# The augmentations of `--augment`, besides the data sheet's
AUGMENTS = {
    "none": Augment(),
    "trivial": Augment(trivial=True),  # Mueller & Hutter 2021, arXiv 2103.10158
    "shift_flip": Augment(shift=1 / 8, flip=True),  # 4 of CIFAR's 32 pixels: He et al. 2016, section 4.2
    "flip": Augment(crop=0.5, flip=True),  # as in the data sheets of photographs
    "dihedral": Augment(crop=0.7, dihedral=True),  # as in the data sheets of aerial images and microscopy
}

# Increase it when the default recipe changes: finished runs of a sweep are then not its runs any more
CLEAN_VERSION = 6
MIN_SHOTS = 5  # training images per class, in the mean: fine-tuning was not measured with fewer (docs/training.md)
MIN_VAL = 10  # validation images: fewer rank learning rates and epochs by chance


@dataclass(frozen=True)
class MeasuredLr:
    """A peak learning rate of the clean recipe: that of the highest top-1 on validation, in the mean of several datasets.

    Runs of 300 steps of 32 images at 64 pixels, with 800 to 1,500 training images, seed 0 (benchmarks/results/recipes.jsonl).
    """

    datasets: int
    network: str = ""  # the one that was measured, if the rate is taken over from another
    lr: float = 3e-4
    compared: tuple[float, ...] = (1e-4, 3e-4, 1e-3)


MEASURED_LRS = {  # by the network's name in its library
    "tf_efficientnet_lite0": MeasuredLr(datasets=3),
    "tf_efficientnet_lite1": MeasuredLr(datasets=3, network="efficientnet_lite0"),
    "tf_efficientnet_lite2": MeasuredLr(datasets=3, network="efficientnet_lite0"),
    "mobilenetv1_100": MeasuredLr(datasets=3),
    "mobilenetv2_100": MeasuredLr(datasets=3),
    "squeezenet1_1": MeasuredLr(datasets=7),
}

# The probe has a closed form; its penalty is chosen on validation
PROBE = Recipe(name="probe", phases=(), eval_every=0)
UNUSED_BY_PROBE = (
    "micro_bs", "epochs", "steps", "optimizer", "lr", "no_search", "weight_decay", "layer_decay", "label_smoothing", "mixup_alpha", "ema_decay", "head_start", "batch_norm", "class_weights", "balanced_sampling", "eval_every", "augment", "crop_pct",
    "compile", "tune", "save_every",
)  # fmt: skip

# From scratch on 32 x 32 pixels, by `Backbone.scratch` (sgd: convolutional networks, adam: those with attention): the
# published settings of github.com/xyfJASON/image-backbones-pytorch at acb3469
SCRATCH_STEPS, SCRATCH_EVERY, SCRATCH_SAVE = 64_000, 1_000, 5_000
SCRATCH_BATCH = {"sgd": 256, "adam": 512}
SCRATCH = {
    "sgd": Phase(steps=SCRATCH_STEPS, optimizer="sgd", lr=0.1, weight_decay=5e-4, decay_all=True, floor=0.01),
    "adam": Phase(steps=SCRATCH_STEPS, optimizer="adam", lr=1e-3, weight_decay=5e-5, decay_all=True, floor=0.01),
}


def defaults(protocol: str, backbone: Backbone, dataset: Dataset) -> dict[str, Any]:
    """The defaults of a protocol's options."""
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
            "batch_size": SCRATCH_BATCH[backbone.scratch],
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
    """The settings of the published code; its most common ones if it has no script for the dataset."""
    return dataset.published or Published()


def from_config(config: RunConfig, backbone: Backbone, steps_per_epoch: int) -> Recipe:
    """The recipe of the protocol, overridden by options of the command line."""
    if config.protocol == "probe":
        return PROBE
    if config.protocol == "scratch":
        base = Recipe(name="scratch", phases=(SCRATCH[backbone.scratch],), eval_every=SCRATCH_EVERY, test_last=True)
    elif config.protocol == "paper":
        base = paper(published(config.dataset), steps_per_epoch)
    else:
        pretrained = config.weights != "none"
        is_measured = source(config, backbone) in ("measured", "taken_over")
        lr = measured_lr(backbone).lr if is_measured else backbone.lr
        base = clean(default_epochs(steps_per_epoch), steps_per_epoch, lr, pretrained)
    phase = {
        "steps": config.epochs * steps_per_epoch if config.epochs else config.steps,
        "optimizer": config.optimizer,
        "lr": None if config.lr == "auto" else config.lr,
        "weight_decay": config.weight_decay,
        "layer_decay": config.layer_decay,
    }
    others = ("eval_every", "head_start", "batch_norm", "label_smoothing", "mixup_alpha", "ema_decay")
    return _replace(
        base,
        phases=tuple(_replace(part, **phase) for part in base.phases),
        class_weights=config.class_weights,
        **{name: getattr(config, name) for name in others},
    )


def crop_pct(config: RunConfig) -> float | None:
    """Of evaluation; None: 1. The clean recipe shows objects in the mean size of training, which enlarges random crops (Touvron et al. 2019, arXiv 1906.06423)."""
    side = config.crop_pct or (mean_crop(config.dataset.augment.crop) if config.protocol == "clean" else 1)
    return side if side < 1 else None


def mean_crop(smallest: float) -> float:
    """The mean side of random crops of at least this fraction of the area, as a fraction of the image's: the first order of a square root."""
    return 1 - (1 - smallest) / 4


def for_split(recipe: Recipe, config: RunConfig, classes: int, n_train: int, n_val: int) -> Recipe:
    """The recipe, without steps where there are too few images to fine-tune a pretrained network: the probe is the result.

    Options that state the steps, the epochs or the rate fine-tune all the same.
    """
    stated = config.steps or config.epochs or config.lr
    enough = n_train >= MIN_SHOTS * classes or n_val >= MIN_VAL
    if stated or enough or config.protocol != "clean" or config.weights == "none" or recipe.head_start != "probe":
        return recipe
    return replace(recipe, phases=tuple(replace(phase, steps=0) for phase in recipe.phases))


def _replace(record: Any, **options: Any) -> Any:
    """With the options that are set."""
    return replace(record, **{name: value for name, value in options.items() if value is not None})


def paper(settings: Published, steps_per_epoch: int) -> Recipe:
    """arXiv 2406.05612 as in its code: AdamW, then SGD from the best epoch, each until its patience is exhausted.

    The best epoch is chosen on the test set. Fixed here: the forward pass runs under autocast; scores are computed over
    the whole test set, not averaged over batches; patience counts epochs without a better score (some scripts stop an
    epoch early, others count a tie as better); the second phase runs on CIFAR; images, including test, are normalised
    as in pre-training; `-model` and `-bs` work in every script; there is a seed.
    """
    return Recipe(
        name="paper",
        phases=(
            Phase(
                steps=PAPER_MAX_EPOCHS * steps_per_epoch,
                lr=settings.lr,
                weight_decay=0.01,
                decay_all=True,
                schedule="constant",
                patience=settings.patience[0],
            ),
            Phase(
                steps=PAPER_MAX_EPOCHS * steps_per_epoch,
                optimizer="sgd",
                lr=1e-3,
                schedule="constant",
                patience=settings.patience[1],
            ),
        ),
        eval_every=steps_per_epoch,
        choose_on="test",
        test_last=True,
    )


def clean(epochs: int, steps_per_epoch: int, lr: float, pretrained: bool) -> Recipe:
    """The default: AdamW, a cosine schedule with warm-up, label smoothing.

    From pretrained weights the head starts as a linear probe and batch norm keeps its statistics: with a random head and
    batch statistics, fine-tuning may end below the frozen network (docs/training.md).

    A small validation set often scores an early epoch highest by chance, while later weights are better. So the last
    weights within one standard error of the best score are selected (Breiman et al. 1984, section 3.4.3; LOG.md), but none
    that score lower than the probe.
    """
    return Recipe(
        name="clean",
        phases=(Phase(steps=epochs * steps_per_epoch, lr=lr, weight_decay=0.05, warmup=0.1),),
        eval_every=steps_per_epoch,
        label_smoothing=0.1,
        head_start="probe" if pretrained else "random",
        batch_norm="pretrained" if pretrained else "batch",
        tolerance=1.0,
    )


def measured_lr(backbone: Backbone) -> MeasuredLr | None:
    return MEASURED_LRS.get(backbone.arch.partition(".")[0])


def source(config: RunConfig, backbone: Backbone) -> str:
    """Where the learning rate is from: options, protocol, measured (for this network), taken_over (from another) or unmeasured.

    Rates were measured with AdamW, a head that starts as a probe and pretrained statistics.
    """
    if config.lr not in (None, "auto"):
        return "options"
    if config.protocol != "clean":
        return "protocol"
    measured = measured_lr(backbone)
    other = (config.optimizer or "adamw", config.head_start or "probe", config.batch_norm or "pretrained")
    if not measured or config.weights == "none" or other != ("adamw", "probe", "pretrained"):
        return "unmeasured"
    return "taken_over" if measured.network else "measured"


def default_epochs(steps_per_epoch: int) -> int:
    """Epochs of the default recipe: at least `EPOCHS`, and at least `MIN_STEPS` steps."""
    return max(EPOCHS, ceil(MIN_STEPS / steps_per_epoch))


def save_every(recipe: Recipe) -> int:
    """Steps between two checkpoints, by default."""
    return SCRATCH_SAVE if recipe.name == "scratch" else recipe.eval_every
