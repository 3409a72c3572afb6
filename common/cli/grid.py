"""The grid of a sweep: datasets x backbones x training set sizes x seeds, checked before the first run starts."""

import copy
import io
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import Parser, UserError
from ..models import build
from ..models.registry import CIFAR, MODERN, PAPER
from ..spec import Dataset, RunConfig
from ..sweep.plan import PlannedRun
from ..training.recipes import UNUSED_BY_PROBE
from . import catalog, config_file
from .options import build_parser
from .parse import has_data, make_config, parse

ALL = "all"  # datasets found on disk
GROUPS = {"paper": PAPER, "modern": tuple(row.name for row in MODERN), "cifar": tuple(row.name for row in CIFAR)}


@dataclass(frozen=True, kw_only=True)
class Grid:
    datasets: Sequence[str]  # names, or [ALL]
    models: Sequence[str]  # names, or those of `GROUPS`
    seeds: Sequence[int]
    train_sizes: Sequence[Mapping[str, float]]  # {"shots": 5}, {"fraction": 0.1} ...; empty: all training images
    data: Path  # parent of a folder per script
    options: Sequence[str]  # command-line arguments of every script


def expand(grid: Grid, probe: bool = False) -> tuple[list[PlannedRun], dict[str, str]]:
    """The runs of a grid, and {run: reason} of those that cannot run and were not named by the user.

    All datasets and backbones of the first seed come first, for an early answer. `probe`: linear probes instead, of the
    first seed only.

    Raises:
        UserError: a dataset or backbone that the user named cannot run.
    """
    checked: list[tuple[Dataset, tuple[str, ...], RunConfig]] = []
    left_out: dict[str, str] = {}
    all_datasets = list(grid.datasets) == [ALL]
    for sheet in catalog.datasets() if all_datasets else _sheets(grid.datasets):
        if missing := _missing(sheet, grid.data / sheet.script):
            if not all_datasets:
                raise UserError(missing)
            left_out[sheet.name] = missing
            continue
        runnable, reason = [], None
        for model, train_size, named in _combinations(grid):
            try:
                runnable.append((sheet, *_config(sheet, model, train_size, grid, probe)))
            except UserError as error:
                if named and not all_datasets:
                    raise
                reason = left_out[f"{sheet.name} {model}"] = str(error)
        if not (runnable or all_datasets):
            raise UserError(f"{sheet.name}: none of the backbones can run: {reason}")
        checked += runnable
    return [
        PlannedRun(
            config=replace(config, seed=seed),
            script=catalog.ROOT / f"{sheet.script}.py",
            args=(*argv, "--seed", str(seed)),
            named=not all_datasets,
        )
        for seed in (grid.seeds[:1] if probe else grid.seeds)
        for sheet, argv, config in checked
    ], left_out


def _sheets(names: Sequence[str]) -> list[Dataset]:
    """The data sheets of these names; a script with several, such as breakhis, selects all of them."""
    known = {catalog.find(name).name for name in names}  # raises on an unknown name
    return [sheet for sheet in catalog.datasets() if sheet.name in known or sheet.script in names]


def _missing(sheet: Dataset, folder: Path) -> str | None:
    """The error for a sheet without data, and how to get it; None if it has data."""
    if has_data(sheet, folder):
        return None
    fetchable = any(file.mirrors for file in sheet.sources)
    how = f"python -m common fetch {sheet.script} downloads it" if fetchable else sheet.get
    return f"no data in {folder}: {how}; --data DIR names the parent of {sheet.script}"


def _combinations(grid: Grid) -> Iterator[tuple[str, Mapping[str, float], bool]]:
    """Backbone, training set size, and whether the user named the backbone, instead of a group."""
    models = {row: name in GROUPS for name in grid.models for row in GROUPS.get(name, (name,))}
    for model in models:
        build.check_name(model)
    for model, grouped in models.items():
        for train_size in grid.train_sizes or [{}]:
            yield model, train_size, not grouped


def _config(
    sheet: Dataset, model: str, train_size: Mapping[str, float], grid: Grid, probe: bool
) -> tuple[tuple[str, ...], RunConfig]:
    """The script's arguments without its seed, and the resulting config."""
    fixed: list[str] = []  # passed even if they equal the script's defaults
    if not sheet.bundled:
        fixed += ["--data_dir", str((grid.data / sheet.script).absolute())]
    if sheet.variant:
        fixed += [f"--{sheet.variant[0]}", sheet.variant[1]]
    size = (f"--{name}={value}" for name, value in train_size.items())
    parser = build_parser(sheet)
    options = _parse(sheet, [*grid.options, "-model", model, *size, *fixed])
    if probe:
        options = _as_probe(options, parser)
    argv = config_file.to_argv(options, parser)
    return (*argv, *fixed), make_config((sheet,), options)


def _parse(sheet: Dataset, argv: list[str]) -> Namespace:
    """Raises: UserError: the sheet's script does not accept the arguments."""
    stderr = io.StringIO()
    try:
        with redirect_stderr(stderr):
            return parse((sheet,), argv)
    except SystemExit:
        raise UserError(stderr.getvalue().strip().removeprefix("error: ")) from None


def _as_probe(options: Namespace, parser: Parser) -> Namespace:
    options = copy.copy(options)
    for name in UNUSED_BY_PROBE:
        setattr(options, name, parser.get_default(name))
    options.protocol = "probe"
    return options
