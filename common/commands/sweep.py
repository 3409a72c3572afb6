"""many runs, one by one or on many machines: what is finished is skipped, a crash costs one run"""

import argparse
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import catalog, options_file
from ..asked import check, choose, gpus, parse
from ..cli import friendly
from ..errors import UserError
from ..models import backbones
from ..models.modern import MODERN
from ..models.table import CIFAR, PAPER
from ..options import parser, seconds
from ..spec import Dataset, Run

if TYPE_CHECKING:
    from ..answers.sweep.plan import Cell

GROUPS = {
    "paper": PAPER,
    "modern": tuple(row.name for row in MODERN),
    "cifar": tuple(row.name for row in CIFAR),
}
OURS = (
    "-model",
    "--model",
    "--seed",
    "--shots",
    "--fraction",
    "--data_dir",
    "--out",
    "--resume",
    "--config",
    "--download",
)


def main(argv: list[str]) -> None:
    options, rest = _parser().parse_known_args(argv)
    friendly(lambda: _sweep(options, rest, argv))


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        prog="python -m common sweep",
        description="Every dataset with every backbone and seed, each run a process of its own in its own folder. The same "
        "command goes on with what is not finished.",
        epilog="All other options go to the scripts: --protocol, --lr, --epochs, --image_size, -bs, --weights, --subset ...",
        allow_abbrev=False,
    )  # fmt: skip
    what = p.add_argument_group("what to run")
    what.add_argument(
        "--datasets",
        nargs="+",
        required=True,
        metavar="NAME",
        help="as `list` shows them, or all: those that lie in --data",
    )
    what.add_argument(
        "--models",
        nargs="+",
        default=["paper"],
        metavar="NAME",
        help=f"backbones, or {', '.join(GROUPS)} for a table of `list` (default: paper)",
    )
    what.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="default: 0")
    few = what.add_mutually_exclusive_group()
    few.add_argument(
        "--shots", nargs="+", type=int, metavar="K", help="training images per class, one run for each K"
    )
    few.add_argument(
        "--fraction",
        nargs="+",
        type=float,
        metavar="F",
        help="shares of the training images, one run for each F",
    )
    what.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="where data/DATASET lies (default: %(default)s)",
    )
    what.add_argument(
        "--out",
        type=Path,
        default=Path("runs/sweep"),
        metavar="DIR",
        help="of the run folders (default: %(default)s)",
    )
    what.add_argument(
        "--plan", action="store_true", help="show what there is to do and what it costs, and do nothing"
    )
    what.add_argument("--retry", action="store_true", help="also what has failed before")
    what.add_argument(
        "--bench",
        type=Path,
        metavar="FILE",
        help="what `bench --out FILE` has measured, for the cost of what has never run",
    )
    how = p.add_argument_group("how")
    how.add_argument(
        "--workers", type=int, metavar="N", help="runs at a time (default: one for each GPU, or one)"
    )
    how.add_argument("--threads", type=int, metavar="N", help="of a run (default: cores over --workers)")
    how.add_argument(
        "--stall",
        type=seconds,
        default=1800.0,
        metavar="30m",
        help="a run without a step for so long is ended and tried once more (default: 30m)",
    )
    where = how.add_mutually_exclusive_group()
    where.add_argument(
        "--ray", metavar="ADDRESS|local", help="let a Ray cluster do it, whose machines share the disk"
    )
    where.add_argument(
        "--slurm", type=Path, metavar="FILE", help="write a script for sbatch, new, and do nothing"
    )
    how.add_argument(
        "--shard",
        type=_shard,
        default=(0, 1),
        metavar="I/N",
        help="do every N-th run, from the I-th (counted from 0)",
    )
    how.add_argument("--quiet", action="store_true", help="a line per run when it ends, for logs")
    return p


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is no shard: expected one such as 0/4, the first of four")
    return int(found[1]), int(found[2])


def _sweep(options: argparse.Namespace, rest: list[str], argv: list[str]) -> None:
    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name} {value}: expected 1 or more")
    if options.slurm and options.slurm.exists():
        raise UserError(f"{options.slurm} exists already: name another file, or move it away")
    if ours := next((word for word in rest if word.partition("=")[0] in OURS), None):
        raise UserError(f"{ours} is each run's own: a sweep sets it")

    from ..answers.sweep import plan, prices, slurm, view
    from ..answers.sweep.attempt import How
    from ..answers.sweep.sweep import Where, ledger, pending, sweep

    out = options.out.absolute()
    left_out: dict[str, str] = {}
    cells = plan.cells(_runs(options, rest, left_out))
    if not cells:
        raise UserError(f"nothing to run: {next(iter(left_out.values()))}")
    cards = 0 if "cpu" in rest else gpus()
    workers = options.workers or cards or 1
    threads = options.threads or max(1, (os.cpu_count() or 1) // workers)
    if options.slurm:
        kept = [
            word
            for i, word in enumerate(argv)
            if not (word.startswith("--slurm") or argv[i - 1] == "--slurm")
        ]
        slurm.write(options.slurm, out, len(cells), threads, cards > 0, kept)
        print(f"{len(cells):,} runs -> {options.slurm}; start them with: sbatch {options.slurm}")
        return
    first, of = options.shard
    cells = cells[first::of]
    rest_cells, done, failed = pending(cells, out, options.retry)
    known = prices.prices(out, options.bench)
    told = f"{len(cells):,} runs: {done:,} finished, {failed:,} failed, {len(rest_cells):,} to do; {prices.told(rest_cells, known, workers)}"
    for name, reason in left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if options.plan:
        _show(rest_cells, known)
        print(told)
        return
    from tqdm import tqdm

    print(told, file=sys.stderr)
    ended = sweep(
        rest_cells,
        out,
        How(threads=threads, stall=options.stall),
        Where(workers=workers, gpus=cards, ray=options.ray),
        {},
        lambda line: tqdm.write(line, file=sys.stderr),
        options.quiet,
    )
    names = {cell.name for cell in cells}
    failures = [note for name, note in ledger.failures(out).items() if name in names]
    for note in failures:
        print(view.failure(note))
    print(
        f"{done + ended['finished']:,} of {len(cells):,} runs finished, {len(failures):,} failed -> {options.out}"
    )
    if ended["stopped"]:
        print("stopped, all is saved; the same command goes on", file=sys.stderr)
        sys.exit(130)
    sys.exit(1 if failures else 0)


def _show(cells: "list[Cell]", known: dict) -> None:
    from ..answers.sweep import prices

    for cell in cells:
        seconds = prices.price(cell, known)
        print(f"{cell.name:60} {'?' if seconds is None else prices.duration(seconds):>8}  {cell.few}")


def _runs(
    options: argparse.Namespace, rest: list[str], left_out: dict[str, str]
) -> Iterator[tuple[Run, Path, tuple[str, ...]]]:
    """Run by run: first all datasets and backbones of the first seed, so that an answer comes early.

    What a group names and cannot run is noted in `left_out`, with the reason.

    Raises:
        UserError: what the user named cannot run.
    """
    models = {row: name in GROUPS for name in options.models for row in GROUPS.get(name, (name,))}
    for model in models:
        backbones.check_name(model)
    every = options.datasets == ["all"]
    sheets = catalog.datasets() if every else [catalog.find(name) for name in options.datasets]
    few = [{"shots": k} for k in options.shots or ()] + [{"fraction": f} for f in options.fraction or ()]
    checked: list[tuple[Dataset, tuple[str, ...], Run]] = []
    for sheet in sheets:
        for model, grouped in models.items():
            for some in few or [{}]:
                try:
                    checked.append((sheet, *_checked(sheet, model, some, options, rest)))
                except UserError as error:
                    if not (every or grouped):
                        raise
                    left_out[f"{sheet.name} {model}"] = str(error)
    for seed in options.seeds:
        for sheet, words, run in checked:
            yield replace(run, seed=seed), catalog.ROOT / f"{sheet.script}.py", (*words, "--seed", str(seed))


def _checked(
    sheet: Dataset, model: str, few: dict[str, float], options: argparse.Namespace, rest: list[str]
) -> tuple[tuple[str, ...], Run]:
    """What the script is told, but for the seed, and the run that it makes of it."""
    words = [*rest, "-model", model, *(f"--{name}={value}" for name, value in few.items())]
    if not sheet.bundled:
        words += ["--data_dir", str(options.data / sheet.script)]
    if sheet.variant:
        words += [f"--{sheet.variant[0]}", sheet.variant[1]]
    asked = parse((sheet,), words)
    told = options_file.command(asked, parser(sheet))
    return tuple(told), check(choose((sheet,), asked), asked)
