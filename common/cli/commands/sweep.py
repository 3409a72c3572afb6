"""train many networks, on one or many machines: finished runs are skipped, and a crash costs only one run"""

import argparse
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...sweep.plan import Cell
from ...training.gpus import count_gpus
from ..arguments import duration
from ..grid import GROUPS, Grid, expand
from ..main import report_user_errors
from ..parse import MAX_SEED

FIXED = (
    "-model", "--model", "--seed", "--shots", "--fraction", "--data_dir", "--out", "--resume", "--config", "--download",
)  # fmt: skip


def main(argv: list[str]) -> None:
    options, rest = _parser().parse_known_args(argv)
    report_user_errors(lambda: _sweep(options, rest, argv))


def _parser() -> Parser:
    parser = Parser(
        prog="python -m common sweep",
        description="Run every dataset with every backbone and seed, each run in its own process and folder. Repeat the "
        "command to continue an interrupted sweep.",
        epilog="All other options go to the scripts: --protocol, --lr, --epochs, --image_size, -bs, --weights, --subset ...",
        allow_abbrev=False,
    )
    _add_grid(parser.add_argument_group("grid"))
    _add_selection(parser.add_argument_group("selection of runs"))
    _add_execution(parser.add_argument_group("execution"))
    return parser


# fmt: off
def _add_grid(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--datasets", nargs="+", required=True, metavar="NAME",
                       help="datasets of `list`, or all: those found in --data")
    group.add_argument("--models", nargs="+", default=["paper"], metavar="NAME",
                       help=f"backbones, with your own weights as NAME=FILE, or {', '.join(GROUPS)} for a table of `list` (default: paper)")
    group.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="N", help="default: 0")
    train_size = group.add_mutually_exclusive_group()
    train_size.add_argument("--shots", nargs="+", type=int, metavar="K",
                            help="training images per class, one run for each K")
    train_size.add_argument("--fraction", nargs="+", type=float, metavar="F",
                            help="fractions of the training images, one run for each F")
    group.add_argument("--data", type=Path, default=Path("data"), metavar="DIR",
                       help="parent of the data folders (default: %(default)s)")
    group.add_argument("--out", type=Path, default=Path("runs/sweep"), metavar="DIR",
                       help="parent of the run folders (default: %(default)s)")


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--budget", type=duration, metavar="8h",
                       help="target time (s, m, h): probe everything, then fine-tune the promising backbones, best first")
    group.add_argument("--plan", action="store_true",
                       help="dry run: show the pending runs and their estimated cost")
    group.add_argument("--retry", action="store_true", help="also retry failed runs")
    group.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N",
                       help="do every N-th run, from the I-th (counted from 0)")
    group.add_argument("--bench", type=Path, metavar="FILE",
                       help="output of `bench --out FILE`, to estimate the cost of backbones that have not run yet")


def _add_execution(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--workers", type=int, metavar="N",
                       help="parallel runs (default: one per GPU; without one, 1)")
    group.add_argument("--threads", type=int, metavar="N",
                       help="threads per run (default: cores / --workers)")
    group.add_argument("--stall", type=duration, default=1800.0, metavar="30m",
                       help="stop a run without progress for this long and retry it once (default: 30m)")
    cluster = group.add_mutually_exclusive_group()
    cluster.add_argument("--ray", metavar="ADDRESS|local", help="run on a Ray cluster with a shared disk")
    cluster.add_argument("--slurm", type=Path, metavar="FILE", help="write a new sbatch script and exit")
    group.add_argument("--quiet", action="store_true", help="print one line per finished run, for log files")
# fmt: on


def _shard(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard: expected e.g. 0/4, the first of four")
    return int(match[1]), int(match[2])


def _sweep(options: argparse.Namespace, rest: list[str], argv: list[str]) -> None:
    _check(options, rest)

    from tqdm import tqdm

    from ...sweep import cost_model, plan, state, status
    from ...sweep.job import JobConfig
    from ...sweep.sweep import Backend, sweep

    out, grid = options.out.absolute(), _grid(options, rest)
    cells, device = _cells(grid, options)
    gpus = 0 if device == "cpu" else count_gpus()
    workers = options.workers or gpus or 1
    threads = options.threads or max(1, (os.cpu_count() or 1) // workers)
    if options.slurm:
        _write_slurm(options, len(cells), threads, device, gpus, argv)
        return
    probes = plan.make_cells(expand(grid, probe=True)[0])[0] if options.budget else []
    first, step = options.shard
    cells = cells[first::step]
    pending, _, _ = state.pending([*probes, *cells], out, options.retry)
    rates = cost_model.fit(out, options.bench) if pending else {}
    if options.plan:
        cells = _select(cells, probes, out) if probes else cells
        print(status.format_plan([*probes, *cells], out, options.retry, rates, workers))
        return

    backend = Backend(workers=workers, gpus=gpus, ray=options.ray, cpu_only=device == "cpu")
    deadline = time.time() + options.budget if options.budget else None

    def log(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    def run(some: list[Cell], title: str) -> Counter[str]:
        log(title + status.format_total(some, out, options.retry, rates, workers))
        pending, _, _ = state.pending(some, out, options.retry)
        start_by = {}
        if deadline:
            start_by = {cell.name: deadline - (cost_model.estimate(cell, rates) or 0) for cell in pending}
        config = JobConfig(out=out, threads=threads, stall=options.stall, start_by=start_by)
        return sweep(pending, config, backend, log, options.quiet)

    states = _run(probes, cells, out, run)
    print(status.format_summary([*probes, *cells], out, states["late"]))
    if states["stopped"]:
        print("stopped; everything is saved; run the same command to continue", file=sys.stderr)
        sys.exit(130)
    sys.exit(1 if states["failed"] or state.failures_of([*probes, *cells], out) else 0)


def _grid(options: argparse.Namespace, rest: list[str]) -> Grid:
    train_sizes = [{"shots": k} for k in options.shots or ()]
    train_sizes += [{"fraction": f} for f in options.fraction or ()]
    return Grid(
        datasets=options.datasets,
        models=options.models,
        seeds=options.seeds,
        train_sizes=train_sizes,
        data=options.data,
        options=rest,
    )


def _cells(grid: Grid, options: argparse.Namespace) -> tuple[list[Cell], str]:
    """All cells of the grid that can run, and their --device; prints their search budget, and those that are left out."""
    from ...sweep import plan, status

    runs, left_out = expand(grid)
    if not runs:
        raise UserError(f"nothing to run: {next(iter(left_out.values()))}")
    if options.budget and runs[0].config.protocol != "clean":
        raise UserError("--budget probes ImageNet weights to decide what to fine-tune: drop --protocol")
    cells, unreadable = plan.make_cells(runs)
    for name, reason in (left_out | unreadable).items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not cells:
        raise UserError("nothing to run: no dataset found can be read")
    if runs[0].config.protocol == "clean":
        print(status.format_search(cells), file=sys.stderr)
    return cells, runs[0].config.device


def _run(
    probes: list[Cell], cells: list[Cell], out: Path, run: Callable[[list[Cell], str], Counter[str]]
) -> Counter[str]:
    """Run the probes, then the cells that they select, best first; returns the number of runs in each state."""
    if not probes:
        return run(cells, "")
    states = run(probes, "probes first: ")
    if states["stopped"]:
        return states
    return states + run(_select(cells, probes, out), "then fine-tuning: ")


def _select(cells: list[Cell], probes: list[Cell], out: Path) -> list[Cell]:
    """The cells that the finished probes select, best first; prints P(best)."""
    from ...sweep import priority

    cells, selection = priority.prioritize(cells, probes, out)
    if text := priority.format_selection(selection):
        print(text)
    return cells


def _write_slurm(options: argparse.Namespace, n: int, threads: int, device: str, gpus: int, argv: list[str]) -> None:
    from ...sweep import slurm

    gpu = slurm.GPU if gpus else f"#{slurm.GPU}"  # no GPU on this machine: a comment to edit
    rest = _without(argv, "--slurm")
    slurm.write(options.slurm, options.out.absolute(), n, threads, "" if device == "cpu" else gpu, rest)
    print(f"{n:,} runs -> {options.slurm}; start them with: sbatch {options.slurm}")


def _check(options: argparse.Namespace, rest: list[str]) -> None:
    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name} {value}: expected 1 or more")
    if (seed := next((s for s in options.seeds if not 0 <= s < MAX_SEED), None)) is not None:
        raise UserError(f"--seeds {seed}: expected 0 or more, less than 2^63")
    if options.slurm:
        check_new(options.slurm, "--slurm")
    if fixed := next((arg for arg in rest if arg.partition("=")[0] in FIXED), None):
        raise UserError(f"{fixed} is set by the sweep for each run: drop it")
    if options.slurm and (options.plan or options.shard != (0, 1)):
        raise UserError("--slurm writes a script for all runs: drop --plan and --shard")
    if options.budget and (options.slurm or options.shard != (0, 1)):
        raise UserError("--budget decides during the sweep what to run: drop --slurm and --shard")


def _without(argv: list[str], option: str) -> list[str]:
    """A command line without an option and its value."""
    return [arg for i, arg in enumerate(argv) if arg.partition("=")[0] != option and argv[i - 1] != option]
