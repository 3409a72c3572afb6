"""Run one cell of a sweep in its own process, watch it, and retry it once where that may help."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil  # Accelerate brings it

from ..errors import DIVERGED, OUT_OF_MEMORY
from ..files.atomic import is_locked
from ..run.provenance import this_python
from ..run.results import CONFIG, OPTIONS, RESULT
from ..training.heartbeat import FILE as PULSE
from . import ledger
from .plan import Cell

LOOK = 0.5  # seconds between two looks at a process
WAIT = 5.0  # seconds between two looks at a run of another process
GRACE = 120.0  # seconds that a run has to save all before it is killed
STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # exit statuses of a run that has saved all
LEAST_CPU = 1.0  # seconds of it per look that show life before the first step


@dataclass(frozen=True, kw_only=True)
class How:
    """How every run of a sweep is started and watched."""

    threads: int
    stall: float  # seconds without a sign of life after which a run is ended


@dataclass(frozen=True)
class Outcome:
    state: Literal["finished", "failed", "stopped", "late", "busy"]
    told: str = ""  # how it was, or why not
    again: tuple[str, ...] = ()  # what it was tried again for


Stop = Callable[[], int]  # 0: go on; 1: save and end; 2: end at once


def carry_out(
    cell: Cell,
    out: Path,
    how: How,
    latest: float | None = None,
    gpu: int | None = None,
    stop: Stop = lambda: 0,
    wait: bool = True,
) -> Outcome:
    """Start the cell's run, or go on with it, until it is finished, hopeless or stopped.

    A run that another process works on is waited for, unless `wait` is false: then it is "busy". After the time
    `latest` it is not begun. `gpu`: the one to use of several; None: as the machine says.
    """
    if latest is not None and time.time() > latest:
        return Outcome("late")
    folder = out / cell.name
    again: list[str] = []
    more: list[str] = []
    ledger.tidy(out, cell)
    while True:
        if stop():
            return Outcome("stopped", again=tuple(again))
        if is_locked(folder):
            if not wait:
                return Outcome("busy")
            time.sleep(WAIT)
            continue
        if (folder / RESULT).exists():  # asked in this order: a result is there before a lock is gone
            break
        status, said = _attempt(cell, out, more, how, gpu, stop)
        if stop() or is_locked(folder) or (folder / RESULT).exists():
            continue
        reason, extra = _remedy(cell, folder, status, said)
        if extra is None or reason in again:
            why = said or reason
            if again:
                why += f" (tried again after {', '.join(again)})"
            ledger.note_failure(out, cell, why, by_hand(cell, out))
            return Outcome("failed", why, tuple(again))
        again.append(reason)
        more += extra
    ledger.forget_failure(out, cell)
    return Outcome("finished", ledger.score(folder), tuple(again))


def command(cell: Cell, out: Path) -> list[str]:
    """What starts the cell's run, or goes on with it."""
    folder = out / cell.name
    what = ["--resume", str(folder)] if (folder / OPTIONS).exists() else [*cell.words, "--out", str(folder)]
    return [str(cell.script), *what]


def by_hand(cell: Cell, out: Path) -> str:
    """The same for a user to type."""
    return f"{this_python()} {shlex.join(command(cell, out))}"


def _attempt(
    cell: Cell, out: Path, more: list[str], how: How, gpu: int | None, stop: Stop
) -> tuple[int | Literal["stalled"], str]:
    """One process from start to end: its exit status, and its own last word on what was wrong."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(how.threads), "TQDM_DISABLE": "1"}
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")  # those that we may use, of which `gpu` counts
        environment["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    log = ledger.log(out, cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as said:
        start = said.tell()
        process = subprocess.Popen(
            [sys.executable, *command(cell, out), *more],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
        )
        try:
            status = _watched(process, out / cell.name, how, stop)
        finally:
            _end(process)
    return status, _last_word(log, start)


def _watched(process: subprocess.Popen, folder: Path, how: How, stop: Stop) -> int | Literal["stalled"]:
    """Wait for the end; bring it about when asked to, or when the run shows no life."""
    alive, life = time.monotonic(), _life(process, folder)
    asked = 0
    while True:
        try:
            return process.wait(LOOK)
        except subprocess.TimeoutExpired:
            pass
        if (wish := stop()) > asked:
            process.send_signal(signal.SIGTERM if wish == 1 else signal.SIGKILL)
            asked = wish
        now = _life(process, folder)
        if now != life:
            alive, life = time.monotonic(), now
        elif time.monotonic() - alive > how.stall:
            return "stalled"


def _life(process: subprocess.Popen, folder: Path) -> tuple[int, int]:
    """What changes while a run gets on: its pulse; before the first one, while images are decoded, what it computes."""
    try:
        root = psutil.Process(process.pid)
        beaten = (folder / PULSE).stat().st_mtime_ns
        if beaten > 1e9 * root.create_time():  # not by the process before it
            return beaten, 0
    except (OSError, psutil.Error):
        pass
    try:
        root = psutil.Process(process.pid)
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    except psutil.Error:
        return -1, 0
    return -1, int(sum(t.user + t.system for t in times) / LEAST_CPU)


def _end(process: subprocess.Popen) -> None:
    """Let it save what it has, but not for ever."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _last_word(log: Path, start: int) -> str:
    """The message of a mistake, or the last line of a traceback."""
    with open(log, "rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or [line for line in lines if line.strip()] or [""])[-1]


def _remedy(
    cell: Cell, folder: Path, status: int | Literal["stalled"], said: str
) -> tuple[str, list[str] | None]:
    """Why a run ended, and the options to add when it is tried again; None: that would not help."""
    config = json.loads((folder / CONFIG).read_text("utf-8")) if (folder / CONFIG).exists() else {}
    if status == "stalled":
        return "it stalled", []
    if status < 0 or status in STOPPED:
        number = -status if status < 0 else status - 128
        return f"it was killed by {signal.Signals(number).name}", []
    if said.startswith(OUT_OF_MEMORY):
        micro = config.get("micro_bs") or cell.micro_bs
        smaller = max((n for n in range(1, micro // 2 + 1) if cell.batch_size % n == 0), default=None)
        return "running out of memory", [f"--micro_bs={smaller}"] if smaller else None
    if said.startswith(DIVERGED) and config.get("precision") != "fp32":
        return "a NaN or infinite loss", ["--precision=fp32"]
    taken = "another process" in said or "exists already" in said
    if status == 2 and taken and (folder / OPTIONS).exists():
        return "another process had it", []
    return f"exit status {status}", None
