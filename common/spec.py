"""What a dataset, a split, a recipe, a run are: frozen records, standard library only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PARTS = ("train", "val", "test")
CHANGEABLE = ("precision", "micro_bs")  # options that may change on --resume; the result records the step

# The names of the classes in the order of their labels; or how many the data itself must name; None: what is there
Classes = tuple[str, ...] | int | None


@dataclass(frozen=True, kw_only=True)
class Samples:
    """All labelled images of a dataset, before anyone has split or decoded them.

    `images` are paths, or one (N, H, W, 3) uint8 array, in memory or read image by image. `names` are unique and the
    same on every machine (posix paths relative to the data folder): splits, fingerprints and predictions are told
    in them. `parts` is the official part of each image, where there is one ("": in no part). `groups` (patient, leaf,
    scene ...) are never torn apart by a split.
    """

    images: Any
    names: Sequence[str]
    labels: Sequence[int]
    classes: tuple[str, ...]
    parts: Sequence[str] | None = None
    groups: Sequence[str] | None = None
    missing: tuple[str, ...] = ()  # listed images that are not there
    layout: Any = None  # of the user's folder: readers.layout.Layout

    def __len__(self) -> int:
        return len(self.names)


Reader = Callable[..., Samples]  # (data folder, classes[, fold]), see data/sources


@dataclass(frozen=True)
class Official:
    """The dataset's own train, [val,] test, told by `Samples.parts`."""


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """No official split: hold out `ceil(test * n)` images of every class, drawn by `seed`, groups whole.

    Others have done otherwise: drawn from all images whatever their class, or torn groups.
    """

    test: float
    seed: int = 42
    stratify: bool = True
    groups: bool = True


@dataclass(frozen=True, kw_only=True)
class Paper:
    """The split of arXiv 2406.05612 where it is another than the sheet's: `--split paper` puts it in its place.

    `note` tells what is different and which of the paper's counts it reaches; every result carries it.
    """

    note: str
    counts: Mapping[str, int]
    load: Reader | None = None  # None: the sheet's
    split: Holdout | None = None  # None: the sheet's


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes of a training image that do not change its label.

    `crop`: smallest share of the image's area that a random crop keeps (1: no crop). `flip`: mirror left and right.
    `dihedral`: all eight symmetries of the square, four of another rectangle, for pictures without an upside (seen from above). `shift`: by whole
    pixels, up to this share of the side. `trivial`: TrivialAugmentWide (arXiv 2103.10158).
    """

    crop: float = 1.0
    flip: bool = False
    dihedral: bool = False
    shift: float = 0.0
    trivial: bool = False


@dataclass(frozen=True, kw_only=True)
class Published:
    """How the code of arXiv 2406.05612 trains on a dataset (github.com/pranavphoenix/Backbones at 6e73e17).

    Pictures are squashed to the size; a phase ends after so many epochs without a better score.
    """

    image_size: tuple[int, int] = (256, 256)  # (H, W) in pixels
    trivial: bool = False  # TrivialAugmentWide; else no change at all
    lr: float = 1e-3  # of AdamW
    patience: tuple[int, int] = (10, 10)  # of AdamW and of SGD


@dataclass(frozen=True, kw_only=True)
class File:
    """A file that a dataset is published in. Archives (.zip, .tar, .tar.gz, .tgz) are unpacked, others stay as they are.

    Without `mirrors` a person has to bring it: a login, a form or a dead address stands in the way, and `steps` says
    how it is had all the same.
    """

    name: str
    mirrors: tuple[str, ...] = ()  # addresses of the very same bytes, tried in order
    bytes: int | None = None  # None: nobody tells
    digest: str | None = None  # "sha256:...", "md5:..." where only that is published; None: nobody tells
    into: str = ""  # the folder below the data folder that it belongs into
    steps: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A data sheet. The script of its name is its only definition."""

    name: str
    title: str
    domain: str
    load: Reader
    split: Official | Holdout
    paper: Paper | None = None  # None: the paper's train and test are these
    published: Published | None = None  # None: the published code has no script for it
    classes: Classes
    counts: Mapping[str, int] | None  # images per part, before validation is carved from train
    folds: int = 0  # official folds, one of which `--fold` chooses
    fold: int | None = None  # the one that `load` reads
    variant: tuple[str, str] | None = None  # ("magnification", "40x"): what chooses it among several sheets
    image_size: tuple[int, int]  # (H, W) in pixels that the network sees by default
    native: tuple[int, int] | None = None  # (H, W) that all images share
    augment: Augment = Augment()
    metric: str = "top1"
    bundled: bool = False  # an installed package carries the data
    get: str  # how to get the data and what `--data_dir` must then hold, one line
    sources: tuple[File, ...] = ()  # what `--download` fetches
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
    """From a picture file to the network's input; stored with the weights, so that a prediction repeats it."""

    size: tuple[int, int]  # (H, W) in pixels
    crop: float  # share of the shorter side that the centre crop keeps
    interpolation: Literal["bilinear", "bicubic"]
    squash: bool = False  # to `size` whatever the proportions; nothing is cut off
    mean: tuple[float, float, float]  # of pixel values in 0..1
    std: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A stretch of training with one optimizer. Rates follow a cosine, or stay constant."""

    steps: int  # of the optimizer
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float
    head_lr: float = 1.0  # the head's rate, as a multiple of `lr`
    weight_decay: float = 0.0
    decay_all: bool = False  # norms, scales and biases, too
    schedule: Literal["cosine", "constant"] = "cosine"
    floor: float = 0.0  # where the cosine ends, as a share of `lr`
    warmup: float = 0.0  # share of the phase's steps
    patience: int | None = None  # evaluations without a better score that end it before its time


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained. Variation is `dataclasses.replace`."""

    name: str
    phases: tuple[Phase, ...]  # a later phase starts from the best weights so far; none: nothing is trained
    eval_every: int  # steps; 0: there are none
    label_smoothing: float = 0.0
    class_weights: bool = False  # a class counts by the inverse of its frequency in train
    choose_on: Literal["val", "test"] = "val"  # what tells the best weights
    within: float = (
        0.0  # standard errors of the best score: the last weights in reach of it are kept; 0: the first best
    )
    test_last: bool = False  # test is asked about the last weights, too

    @property
    def steps(self) -> int:
        return sum(phase.steps for phase in self.phases)


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How a network computes: what changes its speed, and of its results no more than the number format does."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compiled: bool = False


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What the user asked for, checked. With the code, the data and the machine it determines the result."""

    dataset: Dataset
    model: str
    data_dir: Path
    out: Path  # the run folder, not there yet
    resume: Literal["last", "best"] | None  # the run folder is there: which of its checkpoints to go on from
    changes: tuple[str, ...]  # the options of `CHANGEABLE` that the run goes on with another value of
    options: Mapping[str, Any]  # that say all this again
    weights: str  # "imagenet", "none" or a file
    batch_size: int
    micro_bs: int | None  # images of one forward pass; None: the batch
    protocol: Literal["clean", "paper", "scratch", "probe"]
    epochs: int | None  # None: the recipe's
    steps: int | None  # instead of epochs
    optimizer: Literal["adamw", "adam", "sgd"] | None
    lr: float | Literal["auto"] | None  # auto: the best of a few on validation
    weight_decay: float | None
    class_weights: bool
    balanced_sampling: bool
    eval_every: int | None  # steps
    save_every: int | None  # steps; None: the recipe's, or every epoch
    image_size: tuple[int, int]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    tune: bool  # measure which precision and form of memory is fast, and whether to compile
    device: Literal["auto", "cpu", "cuda"]
    seed: int
    subset: bool
    skip_bad: bool
    no_cache: bool
    offline: bool
    shots: int | None  # training images per class; None: all of them
    fraction: float | None  # of the training images
    split: Literal["clean", "paper"]
    split_file: Path | None  # who is in train, val and test; None: as the sheet says

    @property
    def micro_batches(self) -> int:
        """Forward passes of a step."""
        return self.batch_size // (self.micro_bs or self.batch_size)
