"""The runs of a sweep as text."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from ..errors import UserError
from ..recommend.text import format_duration
from ..run.recorded_recipe import RATE_SOURCES
from ..run.results import METRICS, PART_NAMES
from . import cost_model, state
from .plan import Cell
from .state import Failure, UnfinishedRun

REFRESH_SECONDS = 2.0
MAX_LINES = 24  # of running runs


def format_run(run: UnfinishedRun) -> str:
    """Dataset, backbone, seed, progress, score, speed, time left."""
    config, progress = run.config, run.progress
    name = f"{config['dataset']} {config['backbone']} s{config['seed']}"
    if progress is None:
        return f"{name}: no step yet"
    step, steps = progress["step"], progress["steps"]
    epoch = f"epoch {step / config['steps_per_epoch']:.1f}, " if config.get("steps_per_epoch") else ""
    parts = [f"{name}: {epoch}step {step:,} of {steps:,}"]
    if progress["best"] is not None:
        parts.append(
            f"best {METRICS[config['metric']]} {100 * progress['best']:.2f} % on {PART_NAMES[config['chosen_on']]}"
        )
    if progress["images_per_second"]:
        parts.append(f"{progress['images_per_second']:.0f} img/s")
    may_end_early = any(phase["patience"] is not None for phase in config["recipe"]["phases"])
    if step and not may_end_early:
        parts.append(f"{format_duration(progress['seconds'] / step * (steps - step))} left")
    return ", ".join(parts)


def format_failure(failure: Failure) -> str:
    return f"failed: {failure.run}: {failure.reason}\n  again: {failure.command}\n  log: {failure.log}"


def format_search(cells: Sequence[Cell]) -> str:
    """The search budget of every backbone: where its learning rate is from."""
    names: dict[str, dict[str, None]] = defaultdict(dict)
    for cell in cells:
        names[RATE_SOURCES.get(cell.rate, "rate of the protocol")][cell.backbone] = None
    if len(names) == 1:
        return f"search budget of every backbone: {next(iter(names))}"
    listed = "; ".join(f"{rate} ({', '.join(backbones)})" for rate, backbones in sorted(names.items()))
    return f"search budgets differ: {listed}; --lr auto searches for every backbone"


def format_plan(cells: Sequence[Cell], out: Path, retry: bool, rates: cost_model.Rates, workers: int) -> str:
    """A line per pending run with its cost, and the totals."""
    lines = []
    for cell in state.pending(cells, out, retry)[0]:
        seconds = cost_model.estimate(cell, rates)
        cost = "?" if seconds is None else format_duration(seconds)
        lines.append(f"{cell.name:60} {cost:>8}  {cell.train_size}".rstrip())
    return "\n".join([*lines, format_total(cells, out, retry, rates, workers)])


def format_total(cells: Sequence[Cell], out: Path, retry: bool, rates: cost_model.Rates, workers: int) -> str:
    pending, finished, failed = state.pending(cells, out, retry)
    cost = cost_model.format_total(pending, rates, workers)
    return f"{len(cells):,} runs: {finished:,} finished, {failed:,} failed, {len(pending):,} to do; {cost}"


def format_summary(cells: Sequence[Cell], out: Path, late: int) -> str:
    """The failures, and the number of finished runs."""
    finished = len(state.finished(out, (cell.name for cell in cells)))
    failures = state.failures_of(cells, out)
    not_started = f", {late:,} not started: out of time" if late else ""
    total = f"{finished:,} of {len(cells):,} runs finished, {len(failures):,} failed{not_started} -> {out}"
    return "\n".join([*map(format_failure, failures), total])


def format_status(out: Path) -> str:
    """All unfinished and failed runs of a folder, and totals."""
    (runs, finished), failures = state.scan(out), state.failures(out)
    running = [run for run in runs if run.running]
    stopped = [run for run in runs if not run.running and run.run not in failures]
    lines = [format_run(run) for run in running]
    lines += [f"stopped: {format_run(run)}" for run in stopped]
    lines += [format_failure(failure) for failure in failures.values()]
    counts = f"{len(finished):,} finished, {len(running):,} running, {len(stopped):,} stopped, {len(failures):,} failed"
    return "\n".join([*lines, f"{out}: {counts}"])


@contextmanager
def progress(out: Path, total: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """On a terminal, a progress bar over a line per running run; yields a function that counts finished runs."""
    refreshed = 0.0
    finished: set[str] = set()
    rows: list[tqdm] = []
    with tqdm(total=total, desc="sweep", unit="run", disable=quiet or None) as bar:

        def update(ended: int) -> None:
            nonlocal refreshed, finished
            bar.update(ended)
            if bar.disable or time.monotonic() - refreshed < REFRESH_SECONDS:
                return
            refreshed = time.monotonic()
            with suppress(UserError, OSError):  # a run folder that is being removed
                runs, finished = state.scan(out, finished)
                lines = [format_run(run) for run in runs if run.running][:MAX_LINES]
                while len(rows) < len(lines):
                    rows.append(tqdm(bar_format="  {desc}", position=len(rows) + 1, leave=False))
                for i, row in enumerate(rows):
                    row.set_description_str(lines[i] if i < len(lines) else "")

        try:
            yield update
        finally:
            for row in rows:
                row.close()
