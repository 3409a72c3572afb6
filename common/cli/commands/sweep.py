"""many runs, on one or many machines: finished runs are skipped, and a crash costs only one run"""

import argparse
import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...sweep.plan import Cell
from ..main import report_user_errors
from ..options import seconds
from ..parse import SEEDS, gpus
from ..planned_runs import GROUPS, Wanted, planned

OURS = (
    "-model", "--model", "--seed", "--shots", "--fraction", "--data_dir", "--out", "--resume", "--config", "--download",
)  # fmt: skip


def main(argv: list[str]) -> None:
    options, rest = _parser().parse_known_args(argv)
    report_user_errors(lambda: _sweep(options, rest, argv))


def _parser() -> argparse.ArgumentParser:
    p = Parser(
        prog="python -m common sweep",
        description="Run every dataset with every backbone and seed, each run in its own process and folder. Repeat the "
        "command to continue with what is not finished.",
        epilog="All other options go to the scripts: --protocol, --lr, --epochs, --image_size, -bs, --weights, --subset ...",
        allow_abbrev=False,
    )  # fmt: skip
    what = p.add_argument_group("what to run")
    what.add_argument(
        "--datasets",
        nargs="+",
        required=True,
        metavar="NAME",
        help="names from `list`, or all: those found in --data",
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
        help="folder that contains the data folders (default: %(default)s)",
    )
    what.add_argument(
        "--out",
        type=Path,
        default=Path("runs/sweep"),
        metavar="DIR",
        help="parent folder of the run folders (default: %(default)s)",
    )
    what.add_argument(
        "--budget",
        type=seconds,
        metavar="8h",
        help="target time (s, m, h): probe everything, then fine-tune the promising backbones, best first",
    )
    what.add_argument(
        "--plan", action="store_true", help="dry run: show the runs to do and their estimated cost"
    )
    what.add_argument("--retry", action="store_true", help="also retry runs that have failed")
    what.add_argument(
        "--bench",
        type=Path,
        metavar="FILE",
        help="output of `bench --out FILE`, to estimate the cost of backbones that have not run yet",
    )
    how = p.add_argument_group("how")
    how.add_argument(
        "--workers", type=int, metavar="N", help="runs at a time (default: one for each GPU, or one)"
    )
    how.add_argument("--threads", type=int, metavar="N", help="threads per run (default: cores / --workers)")
    how.add_argument(
        "--stall",
        type=seconds,
        default=1800.0,
        metavar="30m",
        help="a run without progress for this long is stopped and retried once (default: 30m)",
    )
    where = how.add_mutually_exclusive_group()
    where.add_argument("--ray", metavar="ADDRESS|local", help="run on a Ray cluster with a shared disk")
    where.add_argument("--slurm", type=Path, metavar="FILE", help="write a new sbatch script and exit")
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
        raise argparse.ArgumentTypeError(f"{text!r} is not a shard: expected e.g. 0/4, the first of four")
    return int(found[1]), int(found[2])


def _sweep(options: argparse.Namespace, rest: list[str], argv: list[str]) -> None:
    _check(options, rest)

    from tqdm import tqdm

    from ...sweep import ledger, plan, prices, slurm, value, view
    from ...sweep.attempt import How
    from ...sweep.sweep import Where, sweep

    out, wanted = options.out.absolute(), _wanted(options, rest)
    runs, left_out = planned(wanted)
    if not runs:
        raise UserError(f"nothing to run: {next(iter(left_out.values()))}")
    if options.budget and runs[0].run.protocol != "clean":
        raise UserError("--budget probes ImageNet weights to decide what to fine-tune: drop --protocol")
    cells, unreadable = plan.cells(runs)
    for name, reason in (left_out | unreadable).items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    if not cells:
        raise UserError("nothing to run: none of the data found can be read")
    cpu_alone = runs[0].run.device == "cpu"
    cards = 0 if cpu_alone else gpus()
    workers = options.workers or cards or 1
    how = How(threads=options.threads or max(1, (os.cpu_count() or 1) // workers), stall=options.stall)
    where = Where(workers=workers, gpus=cards, ray=options.ray, cpu_alone=cpu_alone)
    if options.slurm:
        gpu = (
            "" if cpu_alone else slurm.GPU if cards else f"#{slurm.GPU}"
        )  # none here: for a person to decide
        slurm.write(options.slurm, out, len(cells), how.threads, gpu, _without(argv, "--slurm"))
        print(f"{len(cells):,} runs -> {options.slurm}; start them with: sbatch {options.slurm}")
        return
    probes = plan.cells(planned(wanted, probe=True)[0])[0] if options.budget else []
    first, of = options.shard
    cells = cells[first::of]
    todo, _, _ = ledger.pending([*probes, *cells], out, options.retry)
    known = prices.prices(out, options.bench) if todo else {}
    if options.plan:
        print(view.plan([*probes, *cells], out, options.retry, known, workers))
        return

    until = time.time() + options.budget if options.budget else None

    def tell(line: str) -> None:
        tqdm.write(line, file=sys.stderr)

    def carry_out(some: list[Cell], what: str = "") -> Counter[str]:
        tell(what + view.total(some, out, options.retry, known, workers))
        todo, _, _ = ledger.pending(some, out, options.retry)
        latest = {cell.name: until - (prices.price(cell, known) or 0) for cell in todo} if until else {}
        return sweep(todo, out, how, where, latest, tell, options.quiet)

    ended = carry_out(probes, "probes first: ") if probes else Counter()
    if probes and not ended["stopped"]:
        cells, dropped = value.by_value(cells, probes, out)
        for (dataset, few), names in dropped.items():
            print(f"{' '.join(filter(None, (dataset, few)))}, probed and dropped: {', '.join(names)}")
    if not ended["stopped"]:
        ended += carry_out(cells, "then fine-tuning: " if probes else "")
    print(view.outcome([*probes, *cells], out, ended["late"]))
    if ended["stopped"]:
        print("stopped; everything is saved; run the same command to continue", file=sys.stderr)
        sys.exit(130)
    sys.exit(1 if ended["failed"] or ledger.failures_of([*probes, *cells], out) else 0)


def _wanted(options: argparse.Namespace, rest: list[str]) -> Wanted:
    return Wanted(
        datasets=options.datasets,
        models=options.models,
        seeds=options.seeds,
        few=[{"shots": k} for k in options.shots or ()] + [{"fraction": f} for f in options.fraction or ()],
        data=options.data,
        options=rest,
    )


def _check(options: argparse.Namespace, rest: list[str]) -> None:
    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None and value < 1:
            raise UserError(f"--{name} {value}: expected 1 or more")
    if (seed := next((s for s in options.seeds if not 0 <= s < SEEDS), None)) is not None:
        raise UserError(f"--seeds {seed}: expected 0 or more, less than 2^63")
    if options.slurm:
        check_new(options.slurm, "--slurm")
    if ours := next((word for word in rest if word.partition("=")[0] in OURS), None):
        raise UserError(f"{ours} is set by the sweep for each run: drop it")
    if options.slurm and (options.plan or options.shard != (0, 1)):
        raise UserError("--slurm writes a script for all runs: drop --plan and --shard")
    if options.budget and (options.slurm or options.shard != (0, 1)):
        raise UserError("--budget decides during the sweep what to run: drop --slurm and --shard")


def _without(argv: list[str], option: str) -> list[str]:
    """The words of a command line but for an option and its value."""
    return [word for i, word in enumerate(argv) if word.partition("=")[0] != option and argv[i - 1] != option]
