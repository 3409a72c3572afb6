"""What is known of the runs of a sweep: their folders, and beside them a log for each and a note for each that failed.

Any number of processes and machines may write here: a folder appears whole, a note is replaced whole, and nobody
writes what is another's.
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
from ..run.results import CONFIG, OPTIONS, RESULT, read_json
from ..training.heartbeat import FILE as PULSE
from .plan import Cell

LOGS, FAILED = "logs", "failed"
LEFT = 60.0  # seconds after which a half-made folder is one that a killed process has left


@dataclass(frozen=True, kw_only=True)
class Failure:
    run: str  # the name of its folder
    reason: str
    command: str  # that does it again
    log: str


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A run that has begun and is not finished."""

    run: str
    at_work: bool  # a process is
    config: dict[str, Any]
    pulse: dict[str, Any] | None  # see training/pulse.py; None: no step yet


def finished(out: Path, names: Iterable[str]) -> set[str]:
    """Those of the run folders that hold a result."""
    if not out.is_dir():
        return set()
    there = set(names).intersection(os.listdir(out))  # thousands of paths take seconds, their names do not
    return {name for name in there if os.path.exists(f"{out}/{name}/{RESULT}")}


def pending(cells: Sequence[Cell], out: Path, retry: bool) -> tuple[list[Cell], int, int]:
    """The cells that are to be done, in their order, how many are finished, and how many failed and are left alone."""
    done = finished(out, (cell.name for cell in cells))
    failed = set() if retry else failures(out).keys()
    rest = [cell for cell in cells if cell.name not in done and cell.name not in failed]
    return rest, len(done), len(cells) - len(done) - len(rest)


def standing(out: Path, finished: Collection[str] = ()) -> tuple[list[Standing], set[str]]:
    """The unfinished runs in the order of their names, and the names of the finished ones; those known need no look."""
    found, done = [], set(finished)
    names = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    for name in sorted(names.difference(done, (LOGS, FAILED))):
        if (out / name / RESULT).exists():
            done.add(name)
        elif (out / name / OPTIONS).exists():
            found.append(standing_of(out / name))
    return found, done


def standing_of(folder: Path) -> Standing:
    try:
        pulse = json.loads((folder / PULSE).read_text("utf-8"))
    except (OSError, ValueError):
        pulse = None
    config = read_json(folder / CONFIG)
    return Standing(run=folder.name, at_work=is_locked(folder), config=config, pulse=pulse)


def failures(out: Path) -> dict[str, Failure]:
    """By the name of the run folder; of those that have not been finished since, by whomever."""
    found: dict[str, Failure] = {}
    for note in sorted((out / FAILED).glob("[!.]*.json")):
        if not (out / note.stem / RESULT).exists():
            with suppress(FileNotFoundError):  # another sweep has just had success
                found[note.stem] = Failure(**json.loads(note.read_text("utf-8")))
    return found


def failures_of(cells: Iterable[Cell], out: Path) -> list[Failure]:
    notes = failures(out)
    return [notes[cell.name] for cell in cells if cell.name in notes]


def note_failure(out: Path, cell: Cell, reason: str, command: str) -> None:
    note = _note(out, cell)
    note.parent.mkdir(parents=True, exist_ok=True)
    failure = Failure(run=cell.name, reason=reason, command=command, log=str(log(out, cell)))
    with atomic_write(note) as part:
        part.write_text(json.dumps(asdict(failure), indent=1) + "\n", "utf-8")


def forget_failure(out: Path, cell: Cell) -> None:
    _note(out, cell).unlink(missing_ok=True)


def log(out: Path, cell: Cell) -> Path:
    """What the processes of a cell have said, one after the other."""
    return out / LOGS / f"{cell.name}.log"


def score(folder: Path) -> str:
    """The headline of a finished run."""
    result = read_json(folder / RESULT)
    metric = result["metric"]
    return f"{metric} {100 * result['test'][metric]['value']:.2f} %"


def tidy(out: Path, cell: Cell) -> None:
    """Remove what a process left that was killed while it made the cell's folder."""
    for part in out.glob(f".{cell.name}.*.part"):
        if time.time() - part.stat().st_mtime > LEFT:
            shutil.rmtree(part, ignore_errors=True)


def _note(out: Path, cell: Cell) -> Path:
    return out / FAILED / f"{cell.name}.json"
