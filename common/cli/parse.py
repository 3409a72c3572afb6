"""From argv to a `RunConfig`, with all checks that need no torch."""

import argparse
import dataclasses
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import UserError
from ..models import build, weights
from ..models.names import short_name, slug
from ..run.results import BEST, OPTIONS, RESULT
from ..run.trackers import check_installed
from ..spec import CHANGEABLE, Dataset, RunConfig
from ..training.gpus import check_driver
from ..training.recipes import AUGMENTS, UNUSED_BY_PROBE, defaults
from . import config_file
from .arguments import bind_groups, bind_labels, check_pixels
from .options import build_parser

CHECKPOINTS = ("last", "best")
PAPER = "Protocol of arXiv 2406.05612: the epoch is chosen on the test set, so its score is optimistic."
MAX_SEED = 2**63  # exclusive; torch's limit
RANGES = {
    "weight_decay": (lambda x: 0 <= x < 100, "0 or more, such as 5e-4"),
    "layer_decay": (lambda x: 0 < x <= 1, "more than 0 and at most 1, such as 0.75"),
    "label_smoothing": (lambda x: 0 <= x < 1, "0 or more and less than 1, such as 0.1"),
    "crop_pct": (lambda x: 0.8 <= x <= 1, "0.8 to 1, such as 0.875"),
    "mixup_alpha": (lambda x: 0 <= x < 100, "0 or more, such as 0.2"),
    "ema_decay": (lambda x: 0 <= x < 1, "0 or more and less than 1, such as 0.99"),
    "fraction": (lambda x: 0 < x <= 1, "more than 0 and at most 1, such as 0.1"),
}
COUNTS = ("batch_size", "micro_bs", "epochs", "steps", "eval_every", "save_every", "shots")


def parse(sheets: tuple[Dataset, ...], argv: Sequence[str] | None) -> argparse.Namespace:
    """The options of `argv`, which override those of `--config FILE` or of the run to `--resume`.

    Raises:
        UserError: that file is missing or invalid.
    """
    parser = build_parser(*sheets)
    argv = sys.argv[1:] if argv is None else list(argv)
    options = parser.parse_args(argv)
    if options.resume:
        if options.out:
            raise UserError("--resume continues in its own run folder: drop --out")
        folder, checkpoint = options.resume, "last"
        if folder.name in CHECKPOINTS and not folder.is_dir():
            folder, checkpoint = folder.parent, folder.name
        if not (folder / OPTIONS).is_file():
            raise UserError(f"no run to resume in {folder}: expected its {OPTIONS}")
        changes = tuple(name for name in CHANGEABLE if getattr(options, name) != parser.get_default(name))
        options = parser.parse_args([*config_file.read_argv(folder / OPTIONS, parser), *argv])
        options.out, options.resume, options.changes = folder, checkpoint, changes
    elif options.config:
        options = parser.parse_args([*config_file.read_argv(options.config, parser), *argv])
    options.options = config_file.to_dict(options, parser)
    return options


def with_split(dataset: Dataset, fold: int | None, split: str) -> Dataset:
    """The data sheet with an official fold, or with the paper's split.

    Raises:
        UserError: no such fold, no such split, or a fold together with the paper's split.
    """
    if fold is not None and not 1 <= fold <= dataset.folds:
        folds = f"1 to {dataset.folds}" if dataset.folds else "none"
        raise UserError(f"--fold {fold}: {dataset.title} has these official folds: {folds}")
    if split == "paper":
        if not dataset.paper:
            raise UserError(f"--split paper: the paper has no other split of {dataset.title}")
        if fold not in (None, dataset.fold):
            raise UserError(f"--fold {fold} and --split paper are two different splits: pass one of them")
        paper = dataset.paper
        dataset = replace(
            dataset,
            load=paper.load or dataset.load,
            split=paper.split or dataset.split,
            counts=paper.counts,
            caveats=(paper.note, *dataset.caveats),
        )
    return replace(dataset, fold=fold, load=partial(dataset.load, fold=fold)) if fold else dataset


def make_config(sheets: tuple[Dataset, ...], options: argparse.Namespace) -> RunConfig:
    """The config of one run; fills in the protocol's defaults.

    Raises:
        UserError: an option is invalid, or data or weights are missing.
    """
    dataset = _select(sheets, options)
    _check_values(options)
    check_pixels(options)
    _check_protocol(options)
    if not options.download:
        downloadable = any(file.mirrors for file in dataset.sources)
        check_data(dataset, options.data_dir, "; --download downloads it" if downloadable else "")
    out = _run_folder(dataset, options)
    row = build.get_backbone(options.model)  # slow for timm's
    for name, value in defaults(options.protocol, row, dataset).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if "=" in options.model and options.weights != "imagenet":
        raise UserError(f"-model {options.model} names its weights: it cannot start from --weights {options.weights}")
    if options.micro_bs and options.batch_size % options.micro_bs:
        raise UserError(f"--micro_bs {options.micro_bs}: expected a divisor of -bs {options.batch_size}")
    build.check_size(row, options.image_size)
    if options.batch_norm == "pretrained" and options.weights == "none":
        raise UserError("--batch_norm pretrained: random weights have no statistics; drop it or --weights none")
    weights.locate(row, options.weights, options.offline)
    dataset = replace(dataset, augment=AUGMENTS.get(options.augment, dataset.augment))
    if options.protocol == "paper":
        dataset = replace(dataset, caveats=(PAPER, *dataset.caveats))
    names = {field.name for field in dataclasses.fields(RunConfig)} - {"dataset", "out"}
    return RunConfig(dataset=dataset, out=out, **{name: getattr(options, name) for name in names})


def _select(sheets: tuple[Dataset, ...], options: argparse.Namespace) -> Dataset:
    """The variant and the split that the options name; `--protocol paper` implies the paper's split."""
    dataset = sheets[0]
    if dataset.variant:
        option = dataset.variant[0]
        dataset = {sheet.variant: sheet for sheet in sheets}[option, getattr(options, option)]
    if options.protocol == "paper" and dataset.paper:
        options.split = "paper"
    if dataset.classes is None:
        dataset = replace(dataset, load=bind_labels(dataset.load, options))
    dataset = with_split(dataset, options.fold, options.split)
    return replace(dataset, load=bind_groups(dataset.load, options))


def _check_values(options: argparse.Namespace) -> None:
    minimum = {"seed": 0, **dict.fromkeys(COUNTS, 1)}
    for name, least in minimum.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.seed >= MAX_SEED:
        raise UserError(f"--seed {options.seed}: expected less than 2^63")
    for name, (valid, expected) in RANGES.items():
        value = getattr(options, name)
        if value is not None and not valid(value):
            raise UserError(f"--{name} {value}: expected {expected}")
    if options.split_file and not os.path.isfile(options.split_file):
        raise UserError(f"no split file {options.split_file}")
    build.check_name(options.model)
    if options.track:
        check_installed(options.track)
    if options.device == "cuda":
        check_driver()


def _check_protocol(options: argparse.Namespace) -> None:
    """Raises: UserError: options that conflict with the protocol."""
    if options.protocol in ("paper", "scratch") and (options.head_start or options.batch_norm):
        raise UserError(f"--protocol {options.protocol} has a recipe of its own: drop --head_start and --batch_norm")
    if options.protocol == "paper" and (options.optimizer or options.lr == "auto"):
        raise UserError("--protocol paper has its own optimizers and no validation set: drop --optimizer and --lr auto")
    if options.no_search and options.lr == "auto":
        raise UserError("--no_search and --lr auto contradict each other: drop one of them")
    parallel = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if options.tune and parallel:
        raise UserError("--tune works with a single process only")
    if options.protocol != "probe":
        return
    values = {name: getattr(options, name) for name in UNUSED_BY_PROBE}
    unused = [name for name, value in values.items() if value is not None and value is not False]
    if options.augment == "none":
        unused.remove("augment")
    if unused:
        raise UserError(f"--protocol probe trains nothing: drop --{', --'.join(unused)}")
    if parallel:
        raise UserError("--protocol probe works with a single process only")


def check_data(dataset: Dataset, folder: Path, hint: str = "") -> None:
    """Raises: UserError: the folder has no data; says how to get it, and `hint`."""
    if not has_data(dataset, folder):
        state = "empty" if os.path.isdir(folder) else "not found"
        other = "; or pass its folder as --data_dir" if "--data_dir" not in dataset.get else ""
        raise UserError(f"no data in {folder} ({state}): {dataset.get}{other}{hint}")


def has_data(dataset: Dataset, folder: Path) -> bool:
    """Raises: UserError: the folder cannot be read."""
    try:
        return dataset.bundled or os.path.isfile(folder) or (os.path.isdir(folder) and bool(os.listdir(folder)))
    except OSError as error:
        raise UserError(f"cannot read the folder {folder} ({error.strerror})") from None


def _run_folder(dataset: Dataset, options: argparse.Namespace) -> Path:
    """Raises: UserError: the run to resume is finished, or the folder of a new run exists."""
    model, stamp = slug(short_name(options.model)), time.strftime("%Y%m%d-%H%M%S")
    out = options.out or Path("runs") / f"{dataset.name}-{model}-s{options.seed}-{stamp}"
    if options.resume and (out / RESULT).exists():
        raise UserError(
            f"the run in {out} is finished: nothing to resume; to train on from its weights, start a new run with "
            f"--weights {out / BEST}"
        )
    if out.exists() and not options.resume:
        raise UserError(f"run folder {out} exists already: choose another with --out, or move it away")
    return out
