"""The runs of a sweep: every dataset with every backbone, seed and amount of data, checked before any begins."""

import copy
import io
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError
from ..models import build
from ..models.registry import CIFAR, MODERN, PAPER
from ..spec import Dataset, RunConfig
from ..sweep.plan import Planned
from ..training.recipes import UNUSED_BY_PROBE
from . import catalog, config_file
from .options import parser
from .parse import check, choose, has_data, parse

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
    checked: list[tuple[Dataset, tuple[str, ...], RunConfig]] = []
    left_out: dict[str, str] = {}
    every = list(wanted.datasets) == [ALL]
    for sheet in catalog.datasets() if every else _sheets(wanted.datasets):
        if missing := _missing(sheet, wanted.data / sheet.script):
            if not every:
                raise UserError(missing)
            left_out[sheet.name] = missing
            continue
        some, why = [], None
        for model, few, named in _choices(wanted):
            try:
                some.append((sheet, *_checked(sheet, model, few, wanted, probe)))
            except UserError as error:
                if named and not every:
                    raise
                why = left_out[f"{sheet.name} {model}"] = str(error)
        if not (some or every):
            raise UserError(f"{sheet.name}: none of the backbones can run: {why}")
        checked += some
    return [
        Planned(
            run=replace(run, seed=seed),
            script=catalog.ROOT / f"{sheet.script}.py",
            words=(*words, "--seed", str(seed)),
            named=not every,
        )
        for seed in (wanted.seeds[:1] if probe else wanted.seeds)
        for sheet, words, run in checked
    ], left_out


def _sheets(names: Sequence[str]) -> list[Dataset]:
    """Of a script with several, such as BreakHis' four magnifications, all that the name tells."""
    found = {catalog.find(name).name: name for name in names}  # an unknown name is told
    return [sheet for sheet in catalog.datasets() if sheet.name in found or sheet.script in found.values()]


def _missing(sheet: Dataset, folder: Path) -> str | None:
    """What a user without the sheet's data has to know."""
    if has_data(sheet, folder):
        return None
    fetched = any(file.mirrors for file in sheet.sources)
    how = f"python -m common fetch {sheet.script} gets it" if fetched else sheet.get
    return f"no data in {folder}: {how}; --data DIR is where DIR/{sheet.script} lies"


def _choices(wanted: Wanted) -> Iterator[tuple[str, Mapping[str, float], bool]]:
    """Backbone and amount of data, and whether the user named the backbone."""
    models = {row: name in GROUPS for name in wanted.models for row in GROUPS.get(name, (name,))}
    for model in models:
        build.check_name(model)
    for model, grouped in models.items():
        for few in wanted.few or [{}]:
            yield model, few, not grouped


def _checked(
    sheet: Dataset, model: str, few: Mapping[str, float], wanted: Wanted, probe: bool
) -> tuple[tuple[str, ...], RunConfig]:
    """What the script is told, but for the seed, and the run that it makes of it."""
    where: list[str] = []  # told whatever the script's own default is
    if not sheet.bundled:
        where += ["--data_dir", str((wanted.data / sheet.script).absolute())]
    if sheet.variant:
        where += [f"--{sheet.variant[0]}", sheet.variant[1]]
    more = (f"--{name}={value}" for name, value in few.items())
    asked = _parsed(sheet, [*wanted.options, "-model", model, *more, *where])
    own = parser(sheet)
    if probe:
        asked = _as_probe(asked, own)
    told = config_file.command(asked, own)
    return (*told, *where), check(choose((sheet,), asked), asked)


def _parsed(sheet: Dataset, words: list[str]) -> Namespace:
    """Raises: UserError: the sheet's script has no such option, or wants something else of it."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return parse((sheet,), words)
    except SystemExit:
        raise UserError(said.getvalue().strip().removeprefix("error: ")) from None


def _as_probe(asked: Namespace, own: ArgumentParser) -> Namespace:
    asked = copy.copy(asked)
    for name in UNUSED_BY_PROBE:
        setattr(asked, name, own.get_default(name))
    asked.protocol = "probe"
    return asked
