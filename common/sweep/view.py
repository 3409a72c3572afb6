"""Runs of a sweep as lines to read: the one at work, the one that stands still, all together."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from . import ledger, prices
from .ledger import Failure, Standing
from .plan import Cell
from .prices import duration

EVERY = 2.0  # seconds
ROWS = 24  # of runs at work, at most


def line(run: Standing) -> str:
    """Dataset, backbone, seed, how far, how good, how fast, how long still."""
    of = run.config
    name = f"{of['dataset']} {of['backbone']} s{of['seed']}"
    if run.pulse is None:
        return f"{name}: no step yet"
    step, steps = run.pulse["step"], run.pulse["steps"]
    epoch = f"epoch {step / of['steps_per_epoch']:.1f}, " if of.get("steps_per_epoch") else ""
    told = [f"{name}: {epoch}step {step:,} of {steps:,}"]
    if run.pulse["best"] is not None:
        told.append(f"best {of['metric']} {100 * run.pulse['best']:.2f} % on {of['chosen_on']}")
    if run.pulse["images_per_second"]:
        told.append(f"{run.pulse['images_per_second']:.0f} img/s")
    ends_early = any(phase["patience"] is not None for phase in of["recipe"]["phases"])
    if step and not ends_early:
        told.append(f"{duration(run.pulse['seconds'] / step * (steps - step))} left")
    return ", ".join(told)


def failure(note: Failure) -> str:
    return f"failed: {note.run}: {note.reason}\n  again: {note.command}\n  log: {note.log}"


def plan(cells: Sequence[Cell], out: Path, retry: bool, known: prices.Prices, workers: int) -> str:
    """A line per run that is to be done, with its cost, and a last one for all."""
    lines = []
    for cell in ledger.pending(cells, out, retry)[0]:
        seconds = prices.price(cell, known)
        lines.append(
            f"{cell.name:60} {'?' if seconds is None else duration(seconds):>8}  {cell.few}".rstrip()
        )
    return "\n".join([*lines, total(cells, out, retry, known, workers)])


def total(cells: Sequence[Cell], out: Path, retry: bool, known: prices.Prices, workers: int) -> str:
    todo, done, failed = ledger.pending(cells, out, retry)
    cost = prices.told(todo, known, workers)
    return f"{len(cells):,} runs: {done:,} finished, {failed:,} failed, {len(todo):,} to do; {cost}"


def outcome(cells: Sequence[Cell], out: Path, late: int) -> str:
    """What has failed, and how much is finished."""
    done = len(ledger.finished(out, (cell.name for cell in cells)))
    notes = ledger.failures_of(cells, out)
    over = f", {late:,} not started: out of time" if late else ""
    told = f"{done:,} of {len(cells):,} runs finished, {len(notes):,} failed{over} -> {out}"
    return "\n".join([*map(failure, notes), told])


def status(out: Path) -> str:
    """All that is to be said of a folder of runs."""
    (runs, finished), notes = ledger.standing(out), ledger.failures(out)
    at_work = [run for run in runs if run.at_work]
    still = [run for run in runs if not run.at_work and run.run not in notes]
    lines = [line(run) for run in at_work]
    lines += [f"stopped: {line(run)}" for run in still]
    lines += [failure(note) for note in notes.values()]
    totals = (
        f"{len(finished):,} finished, {len(at_work):,} running, {len(still):,} stopped, {len(notes):,} failed"
    )
    return "\n".join([*lines, f"{out}: {totals}"])


@contextmanager
def live(out: Path, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Show on a terminal what goes on in `out`: a line per run at work under a bar over all; yields what moves the bar."""
    looked = 0.0
    known: set[str] = set()
    rows: list[tqdm] = []
    with tqdm(total=total, desc="sweep", unit="run", disable=quiet or None) as bar:

        def show(ended: int) -> None:
            nonlocal looked, known
            bar.update(ended)
            if bar.disable or time.monotonic() - looked < EVERY:
                return
            looked = time.monotonic()
            with suppress(UserError, OSError):  # a run folder that goes while we look
                runs, known = ledger.standing(out, known)
                lines = [line(run) for run in runs if run.at_work][:ROWS]
                while len(rows) < len(lines):
                    rows.append(tqdm(bar_format="  {desc}", position=len(rows) + 1, leave=False))
                for i, row in enumerate(rows):
                    row.set_description_str(lines[i] if i < len(lines) else "")

        try:
            yield show
        finally:
            for row in rows:
                row.close()
