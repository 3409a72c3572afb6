"""From argv to a `Run`, checked as far as can be without torch."""

import argparse
import ctypes
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
from ..run.results import OPTIONS, RESULT
from ..spec import CHANGEABLE, Dataset, RunConfig
from ..training.recipes import AUGMENTS, UNUSED_BY_PROBE, defaults
from . import config_file
from .options import parser

CHECKPOINTS = ("last", "best")
PAPER = "Protocol of arXiv 2406.05612: the epoch is chosen on the test set, so its score is optimistic."
SEEDS = 2**63  # torch takes no larger one
COUNTS = ("batch_size", "micro_bs", "epochs", "steps", "eval_every", "save_every", "shots")


def parse(sheets: tuple[Dataset, ...], argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, of `--config FILE` or of the run that `--resume` names, and of `argv`, which goes before them.

    Raises:
        UserError: such a file is not there, or holds something else than options.
    """
    p = parser(*sheets)
    argv = sys.argv[1:] if argv is None else list(argv)
    options = p.parse_args(argv)
    if options.resume:
        if options.out:
            raise UserError("--resume continues in its own folder: drop --out")
        folder, which = options.resume, "last"
        if folder.name in CHECKPOINTS and not folder.is_dir():
            folder, which = folder.parent, folder.name
        if not (folder / OPTIONS).is_file():
            raise UserError(f"no run to resume in {folder}: expected its {OPTIONS}")
        changes = tuple(name for name in CHANGEABLE if getattr(options, name) != p.get_default(name))
        options = p.parse_args([*config_file.words(folder / OPTIONS, p), *argv])
        options.out, options.resume, options.changes = folder, which, changes
    elif options.config:
        options = p.parse_args([*config_file.words(options.config, p), *argv])
    options.options = config_file.told(options, p)
    return options


def choose(sheets: tuple[Dataset, ...], options: argparse.Namespace) -> Dataset:
    """The sheet as the options vary it; the paper's protocol has the paper's split, where that is another."""
    dataset = sheets[0]
    if dataset.variant:
        option = dataset.variant[0]
        dataset = {sheet.variant: sheet for sheet in sheets}[option, getattr(options, option)]
    if options.protocol == "paper" and dataset.paper:
        options.split = "paper"
    return split_as(dataset, options.fold, options.split)


def split_as(dataset: Dataset, fold: int | None, split: str) -> Dataset:
    """The sheet with an official fold, and with the paper's split.

    Raises:
        UserError: there is no such fold or no such split, or they are two different splits.
    """
    if fold is not None and not 1 <= fold <= dataset.folds:
        there = f"1 to {dataset.folds}" if dataset.folds else "none"
        raise UserError(f"--fold {fold}: {dataset.title} has these official folds: {there}")
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


def check(dataset: Dataset, options: argparse.Namespace) -> RunConfig:
    """All that can be known before torch is loaded.

    Raises:
        UserError: something that the user can fix.
    """
    least_of = {"seed": 0, **dict.fromkeys(COUNTS, 1)}
    for name, least in least_of.items():
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.seed >= SEEDS:
        raise UserError(f"--seed {options.seed}: expected less than 2^63")
    if options.weight_decay is not None and not 0 <= options.weight_decay < 100:
        raise UserError(f"--weight_decay {options.weight_decay}: expected 0 or more, such as 5e-4")
    if options.fraction is not None and not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction}: expected a share of train above 0, such as 0.1")
    if options.split_file and not options.split_file.is_file():
        raise UserError(f"no split file {options.split_file}")
    build.check_name(options.model)
    if options.protocol == "paper" and (options.optimizer or options.lr == "auto"):
        raise UserError(
            "--protocol paper has its own optimizers, and no validation set: drop --optimizer and --lr auto"
        )
    if options.protocol == "probe":
        _check_probe(options)
    if options.tune and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("--tune works with a single process only")
    if options.device == "cuda" and not gpus():
        raise UserError("--device cuda: no NVIDIA driver with a GPU on this machine; drop it to use the CPU")
    folder = options.data_dir
    if not (options.download or has_data(dataset, folder)):
        elsewhere = "; --data_dir names another place" if "--data_dir" not in dataset.get else ""
        fetched = "; --download fetches it" if any(file.mirrors for file in dataset.sources) else ""
        missing = "empty" if folder.is_dir() else "not there"
        raise UserError(f"no data in {folder} ({missing}): {dataset.get}{elsewhere}{fetched}")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    model = options.model.replace(":", "_")
    out = options.out or Path("runs") / f"{dataset.name}-{model}-s{options.seed}-{stamp}"
    if options.resume and (out / RESULT).exists():
        raise UserError(f"the run in {out} is finished: there is nothing to resume")
    if out.exists() and not options.resume:
        raise UserError(f"run folder {out} exists already: name another with --out, or move it away")
    row = build.get_backbone(options.model)  # of timm's networks, the slow part
    for name, value in defaults(options.protocol, row, dataset).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.micro_bs and options.batch_size % options.micro_bs:
        raise UserError(f"--micro_bs {options.micro_bs}: expected a divisor of -bs {options.batch_size}")
    row.check_size(options.image_size)
    weights.locate(row, options.weights, options.offline)
    dataset = replace(dataset, augment=AUGMENTS.get(options.augment, dataset.augment))
    if options.protocol == "paper":
        dataset = replace(dataset, caveats=(PAPER, *dataset.caveats))
    names = {field.name for field in dataclasses.fields(RunConfig)} - {"dataset", "out"}
    return RunConfig(dataset=dataset, out=out, **{name: getattr(options, name) for name in names})


def has_data(dataset: Dataset, folder: Path) -> bool:
    """Whether there is anything to read."""
    return dataset.bundled or (folder.is_dir() and any(folder.iterdir()))


def _check_probe(options: argparse.Namespace) -> None:
    """Raises: UserError: something is asked for that has no meaning where nothing is trained."""
    asked = {name: getattr(options, name) for name in UNUSED_BY_PROBE}
    given = [name for name, value in asked.items() if value is not None and value is not False]
    if options.augment == "none":
        given.remove("augment")
    if given:
        raise UserError(f"--protocol probe trains nothing: drop --{', --'.join(given)}")
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise UserError("--protocol probe works with a single process only")


def gpus() -> int:
    """How many GPUs a CUDA driver tells of, asked without torch."""
    count = ctypes.c_int(0)
    try:
        driver = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return 0
    return count.value if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0
