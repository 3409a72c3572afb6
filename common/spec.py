"""The records of datasets, splits, recipes and runs: frozen, standard library only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PARTS = ("train", "val", "test")
CHANGEABLE = ("precision", "micro_bs")  # options that may change on --resume; the result records the step

# Class names in the order of their labels; or their number, if the data names them; None: any
Classes = tuple[str, ...] | int | None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """All labelled images of a dataset, neither split nor decoded.

    `images` are paths, or one (N, H, W, 3) uint8 array, in memory or read image by image. `names` are unique and the
    same on every machine (posix paths relative to the data folder); splits, fingerprints and predictions use them.
    `parts` is the official part of each image ("": none). A split never separates a group (patient, leaf, scene ...).
    """

    images: Any
    names: Sequence[str]
    labels: Sequence[int]
    classes: tuple[str, ...]
    parts: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    missing: tuple[str, ...] = ()  # listed images that do not exist
    layout: Any = None  # of the user's folder: readers.layout.Layout

    def __len__(self) -> int:
        return len(self.names)


Reader = Callable[..., Samples]  # (data folder, classes[, fold]), see data/readers


@dataclass(frozen=True)
class Official:
    """The dataset's own train, [val,] test, as in `Samples.parts`."""


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """No official split: `seed` draws `ceil(test * n)` images, of every class (`stratify`), in whole `groups`."""

    test: float
    seed: int = 42
    stratify: bool = True
    groups: bool = True


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The split of arXiv 2406.05612 where it differs from the data sheet's: `--split paper`."""

    note: str  # how it differs; recorded in every result
    counts: Mapping[str, int]
    load: Reader | None = None  # None: the sheet's
    split: Holdout | None = None  # None: the sheet's


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random augmentation of training images."""

    crop: float = 1.0  # smallest fraction of the area that a random crop keeps; 1: no crop
    flip: bool = False  # horizontal
    dihedral: bool | None = False  # the symmetries of the square or rectangle; None: if the images have no orientation
    shift: float = 0.0  # by whole pixels, up to this fraction of the side
    trivial: bool = False  # TrivialAugmentWide (arXiv 2103.10158)


@dataclass(frozen=True, kw_only=True)
class Published:
    """The settings of arXiv 2406.05612's code for a dataset (github.com/pranavphoenix/Backbones at 6e73e17)."""

    image_size: tuple[int, int] = (256, 256)  # (H, W) in pixels; images are squashed to it
    trivial: bool = False  # TrivialAugmentWide; else no augmentation
    lr: float = 1e-3  # of AdamW
    patience: tuple[int, int] = (10, 10)  # epochs without a better score, of AdamW and of SGD


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a published dataset; archives are unpacked. Without `mirrors` users download it, following `steps`."""

    name: str
    mirrors: tuple[str, ...] = ()  # URLs of the same bytes, tried in order
    bytes: int | None = None  # None: not published
    digest: str | None = None  # "sha256:...", or "md5:..." if only that is published
    into: str = ""  # folder in the data folder
    steps: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data sheet, defined in the script of its name."""

    name: str
    title: str
    domain: str
    load: Reader
    split: Official | Holdout
    paper: Paper | None = None  # None: the paper's split is this one
    published: Published | None = None  # None: not in the published code
    classes: Classes
    counts: Mapping[str, int] | None  # images per part, before validation is held out of train
    folds: int = 0  # official folds, for `--fold`
    fold: int | None = None  # the one that `load` reads
    variant: tuple[str, str] | None = None  # selects it among several sheets: ("magnification", "40x")
    image_size: tuple[int, int]  # default (H, W) of the network's input, in pixels
    native: tuple[int, int] | None = None  # (H, W) of all images, if they share it
    augment: Augment = Augment()
    metric: str = "top1"
    bundled: bool = False  # part of an installed package
    get: str  # how to get the data, and what `--data_dir` must contain, one line
    sources: tuple[File, ...] = ()  # for `--download`
    licence: str = "not stated"
    caveats: tuple[str, ...] = ()
    citation: str = ""

    @property
    def script(self) -> str:
        """The script that defines it: `breakhis` of `breakhis-40x`."""
        return self.name.partition("-")[0]


@dataclass(frozen=True, kw_only=True)
class Split:
    """Positions in a `Samples`, per part, each in the order of the samples."""

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    fingerprint: str
    caveats: tuple[str, ...] = ()  # classes that a part lacks


@dataclass(frozen=True, kw_only=True)
class Preprocess:
    """From an image file to the network's input; stored with the weights for predictions."""

    size: tuple[int, int]  # (H, W) in pixels
    crop: float  # fraction of the shorter side kept by the center crop, when images are decoded
    crop_pct: float | None = None  # fraction of the decoded sides that evaluation sees, in whole pixels; None: 1
    interpolation: Literal["bilinear", "bicubic"]
    squash: bool = False  # resize to `size` without keeping the aspect ratio
    mean: tuple[float, float, float]  # of pixel values in 0..1
    std: tuple[float, float, float]
    value_range: tuple[float, float] | None = None  # becomes 0..255; None: 8 bits per channel
    bands: tuple[int, int, int] | None = None  # become red, green and blue, from 1; None: as stored

    def to_dict(self) -> dict[str, Any]:
        """Without fields that are None, as older versions wrote it."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A part of training with one optimizer."""

    steps: int  # of the optimizer
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float
    head_lr: float = 1.0  # the head's learning rate, as a multiple of `lr`
    layer_decay: float = 1.0  # the learning rate of a layer, as a fraction of the next one's
    weight_decay: float = 0.0
    decay_all: bool = False  # also norms, layer scales and biases
    schedule: Literal["cosine", "constant"] = "cosine"
    floor: float = 0.0  # final learning rate of the cosine, as a fraction of `lr`
    warmup: float = 0.0  # fraction of the phase's steps
    patience: int | None = None  # evaluations without a better score that end the phase early


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. Variants are made with `dataclasses.replace`."""

    name: str
    phases: tuple[Phase, ...]  # each starts from the best weights so far; none: nothing is trained
    eval_every: int  # steps; 0: never
    label_smoothing: float = 0.0
    mixup_alpha: float = 0.0  # of the Beta distribution; 0: no mixup
    ema_decay: float = 0.0  # of an average of the weights, which is evaluated and selected; 0: none
    class_weights: bool = False  # inversely proportional to the class frequencies in train
    head_start: Literal["random", "probe"] = "random"  # probe: a linear probe of the frozen features
    batch_norm: Literal["batch", "pretrained"] = "batch"  # the statistics used in training
    choose_on: Literal["val", "test"] = "val"  # the selection set
    tolerance: float = 0.0  # standard errors: the last weights this close to the best score are selected
    test_last: bool = False  # also evaluate the last weights on test

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The validated options of a run. With the code, the data and the machine they determine the result."""

    dataset: Dataset
    model: str
    data_dir: Path
    out: Path  # the run folder; it must not exist
    resume: Literal["last", "best"] | None  # which checkpoint of `out` to resume from
    changes: tuple[str, ...]  # options of `CHANGEABLE` that differ in the resumed run
    options: Mapping[str, Any]  # all of this, as command-line options
    weights: str  # "imagenet", "none" or a file
    batch_size: int
    micro_bs: int | None  # images of one forward pass; None: the batch
    protocol: Literal["clean", "paper", "scratch", "probe"]
    epochs: int | None  # None: the recipe's
    steps: int | None  # instead of epochs
    optimizer: Literal["adamw", "adam", "sgd"] | None
    lr: float | Literal["auto"] | None  # auto: search on validation
    no_search: bool
    weight_decay: float | None
    layer_decay: float | None
    label_smoothing: float | None
    mixup_alpha: float | None
    ema_decay: float | None
    crop_pct: float | None  # see `Preprocess`; None: the recipe's
    head_start: Literal["random", "probe"] | None
    batch_norm: Literal["batch", "pretrained"] | None
    class_weights: bool
    balanced_sampling: bool
    eval_every: int | None  # steps
    save_every: int | None  # steps; None: the recipe's, or every epoch
    image_size: tuple[int, int]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    tune: bool  # time precisions, memory formats and compilation
    device: Literal["auto", "cpu", "cuda"]
    seed: int
    track: Literal["tensorboard", "mlflow", "wandb"] | None
    subset: bool
    skip_bad: bool
    drop_conflicts: bool
    value_range: tuple[float, float] | None
    bands: tuple[int, int, int] | None
    no_cache: bool
    offline: bool
    shots: int | None  # training images per class; None: all
    fraction: float | None  # of the training images
    split: Literal["clean", "paper"]
    split_file: Path | None  # CSV of train, val and test; None: the data sheet's split

    @property
    def micro_batches(self) -> int:
        """Forward passes of a step."""
        return self.batch_size // (self.micro_bs or self.batch_size)

    @property
    def forward_size(self) -> int:
        """Images of one forward pass, over all processes."""
        return self.batch_size // self.micro_batches
