"""The runs of a sweep: every dataset with every backbone, seed and amount of data, checked before any begins."""

import copy
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import catalog, options_file
from .answers.sweep.plan import Planned
from .asked import check, choose, parse
from .errors import UserError
from .models import backbones
from .models.modern import MODERN
from .models.table import CIFAR, PAPER
from .options import parser
from .spec import Dataset, Run
from .training.recipes import UNUSED_BY_PROBE

ALL = "all"  # datasets that are there
GROUPS = {
    "paper": PAPER,
    "modern": tuple(row.name for row in MODERN),
    "cifar": tuple(row.name for row in CIFAR),
}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    datasets: Sequence[str]
    models: Sequence[str]  # names, or a name of `GROUPS`
    seeds: Sequence[int]
    few: Sequence[Mapping[str, float]]  # {"shots": 5} ..., {}: all of train
    data: Path  # holds a folder per script
    options: Sequence[str]  # that all scripts are told


def planned(wanted: Wanted, probe: bool = False) -> tuple[list[Planned], dict[str, str]]:
    """The runs, and what a group names but cannot run, with the reason.

    First all datasets and backbones of the first seed, so that an answer comes early. `probe`: the same by that
    protocol, for the first seed alone.

    Raises:
        UserError: what the user named cannot run.
    """
    checked: list[tuple[Dataset, tuple[str, ...], Run]] = []
    left_out: dict[str, str] = {}
    for sheet, model, few, named in _choices(wanted):
        try:
            checked.append((sheet, *_checked(sheet, model, few, wanted, probe)))
        except UserError as error:
            if named:
                raise
            left_out[f"{sheet.name} {model}"] = str(error)
    return [
        Planned(replace(run, seed=seed), catalog.ROOT / f"{sheet.script}.py", (*words, "--seed", str(seed)))
        for seed in (wanted.seeds[:1] if probe else wanted.seeds)
        for sheet, words, run in checked
    ], left_out


def _choices(wanted: Wanted) -> Iterator[tuple[Dataset, str, Mapping[str, float], bool]]:
    """Sheet, backbone and amount of data, and whether the user named both."""
    models = {row: name in GROUPS for name in wanted.models for row in GROUPS.get(name, (name,))}
    for model in models:
        backbones.check_name(model)
    every = list(wanted.datasets) == [ALL]
    for sheet in catalog.datasets() if every else map(catalog.find, wanted.datasets):
        for model, grouped in models.items():
            for few in wanted.few or [{}]:
                yield sheet, model, few, not (every or grouped)


def _checked(
    sheet: Dataset, model: str, few: Mapping[str, float], wanted: Wanted, probe: bool
) -> tuple[tuple[str, ...], Run]:
    """What the script is told, but for the seed, and the run that it makes of it."""
    words = [*wanted.options, "-model", model, *(f"--{name}={value}" for name, value in few.items())]
    if not sheet.bundled:
        words += ["--data_dir", str(wanted.data / sheet.script)]
    if sheet.variant:
        words += [f"--{sheet.variant[0]}", sheet.variant[1]]
    asked = parse((sheet,), words)
    own = parser(sheet)
    if probe:
        asked = _as_probe(asked, own.parse_args([]))
    told = options_file.command(copy.copy(asked), own)
    return tuple(told), check(choose((sheet,), asked), asked)


def _as_probe(asked: Namespace, plain: Namespace) -> Namespace:
    asked = copy.copy(asked)
    for name in UNUSED_BY_PROBE:
        setattr(asked, name, getattr(plain, name))
    asked.protocol = "probe"
    return asked
