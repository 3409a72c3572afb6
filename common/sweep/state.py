"""The state of a sweep on disk.

Beside the run folders there are a log per run and a note per failure. Any number of processes and machines may write here:
folders and notes appear atomically, and no process writes what belongs to another.
"""

import json
import os
import shutil
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write, is_locked
from ..run.results import CONFIG, METRICS, OPTIONS, RESULT, read_json
from ..training import heartbeat
from .plan import Cell

LOGS, FAILED = "logs", "failed"
PARTIAL_SECONDS = 60.0  # age at which an unfinished folder was left by a killed process


@dataclass(frozen=True, kw_only=True)
class Failure:
    run: str  # the name of its folder
    reason: str
    command: str  # to repeat it
    log: str


@dataclass(frozen=True, kw_only=True)
class UnfinishedRun:
    run: str  # the name of its folder
    running: bool
    config: dict[str, Any]
    progress: dict[str, Any] | None  # see training/heartbeat.py; None: no step yet


def finished(out: Path, names: Iterable[str]) -> set[str]:
    """The names of run folders that contain a result."""
    if not out.is_dir():
        return set()
    present = set(names).intersection(os.listdir(out))  # far faster than a stat per name
    return {name for name in present if os.path.exists(f"{out}/{name}/{RESULT}")}


def pending(cells: Sequence[Cell], out: Path, retry: bool) -> tuple[list[Cell], int, int]:
    """The cells to run, the number of finished ones, and of failed ones that are not retried."""
    done = finished(out, (cell.name for cell in cells))
    failed = set() if retry else failures(out).keys()
    rest = [cell for cell in cells if cell.name not in done and cell.name not in failed]
    return rest, len(done), len(cells) - len(done) - len(rest)


def scan(out: Path, finished: Collection[str] = ()) -> tuple[list[UnfinishedRun], set[str]]:
    """The unfinished runs by name, and the names of the finished ones; those in `finished` are not read again."""
    unfinished, done = [], set(finished)
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    for name in sorted(names.difference(done, (LOGS, FAILED))):
        if (out / name / RESULT).exists():
            done.add(name)
        elif (out / name / OPTIONS).exists():
            unfinished.append(_read_run(out / name))
    return unfinished, done


def _read_run(folder: Path) -> UnfinishedRun:
    try:
        progress = json.loads((folder / heartbeat.FILE).read_text("utf-8"))
    except (OSError, ValueError):
        progress = None
    config = read_json(folder / CONFIG)
    return UnfinishedRun(run=folder.name, running=is_locked(folder), config=config, progress=progress)


def failures(out: Path) -> dict[str, Failure]:
    """By run, without those that have finished since."""
    notes: dict[str, Failure] = {}
    for path in sorted((out / FAILED).glob("[!.]*.json")):
        if not (out / path.stem / RESULT).exists():
            with suppress(FileNotFoundError):  # another sweep has just finished the run
                notes[path.stem] = Failure(**json.loads(path.read_text("utf-8")))
    return notes


def failures_of(cells: Iterable[Cell], out: Path) -> list[Failure]:
    notes = failures(out)
    return [notes[cell.name] for cell in cells if cell.name in notes]


def record_failure(out: Path, cell: Cell, reason: str, command: str) -> None:
    path = _failure_path(out, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    failure = Failure(run=cell.name, reason=reason, command=command, log=str(log_path(out, cell)))
    with atomic_write(path) as part:
        part.write_text(json.dumps(asdict(failure), indent=1) + "\n", "utf-8")


def clear_failure(out: Path, cell: Cell) -> None:
    _failure_path(out, cell).unlink(missing_ok=True)


def log_path(out: Path, cell: Cell) -> Path:
    """The output of all processes of a cell."""
    return out / LOGS / f"{cell.name}.log"


def format_score(folder: Path) -> str:
    """The headline of a finished run."""
    result = read_json(folder / RESULT)
    metric = result["metric"]
    return f"{METRICS[metric]} {100 * result['test'][metric]['value']:.2f} %"


def remove_partial(out: Path, cell: Cell) -> None:
    """Remove folders left by a process that was killed while it created the run."""
    for part in out.glob(f".{cell.name}.*.part"):
        if time.time() - part.stat().st_mtime > PARTIAL_SECONDS:
            shutil.rmtree(part, ignore_errors=True)


def _failure_path(out: Path, cell: Cell) -> Path:
    return out / FAILED / f"{cell.name}.json"
