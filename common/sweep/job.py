"""One run of a sweep as a child process, retried once where that may help."""

import json
import os
import shlex
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil  # a dependency of Accelerate

from ..errors import CACHE_CUT_SHORT, DIVERGED, OUT_OF_MEMORY
from ..files.atomic import is_locked
from ..run.provenance import this_python
from ..run.results import CONFIG, OPTIONS, RESULT
from ..training import heartbeat
from . import state
from .plan import Cell
from .process import Process

POLL_SECONDS = 0.5  # of a child process
LOCK_POLL_SECONDS = 5.0  # of a run in another process
GRACE_SECONDS = 120.0  # from SIGTERM to SIGKILL, for the checkpoint
STOPPED = tuple(128 + n for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))  # of a run that has saved a checkpoint
MIN_CPU_SECONDS = 1.0  # that count as progress before the first step

ExitStatus = int | Literal["stalled"]
Stop = Callable[[], int]  # 0: continue; 1: save a checkpoint and end; 2: end at once


@dataclass(frozen=True, kw_only=True)
class JobConfig:
    """How the runs of a sweep are started and watched."""

    out: Path  # the parent of the run folders
    threads: int
    stall: float  # seconds without progress after which a run is terminated
    start_by: Mapping[str, float] = field(default_factory=dict)  # {cell name: latest time.time() to start it}


@dataclass(frozen=True)
class JobResult:
    state: Literal["finished", "failed", "stopped", "late", "locked"]
    message: str = ""  # the score, or the reason
    retries: tuple[str, ...] = ()  # the reasons of each


def run_job(
    cell: Cell, config: JobConfig, gpu: int | None = None, stop: Stop = lambda: 0, wait: bool = True
) -> JobResult:
    """Start or resume the cell's run until it has finished, failed or been stopped.

    If another process locks the run, wait for it; without `wait` the result is "locked". After the cell's `start_by` it
    is "late". `gpu`: the index of its GPU; None: as in the environment.
    """
    if time.time() > config.start_by.get(cell.name, float("inf")):
        return JobResult("late")
    folder = config.out / cell.name
    retries: list[str] = []
    options: list[str] = []
    state.remove_partial(config.out, cell)
    while True:
        if stop():
            return JobResult("stopped", retries=tuple(retries))
        if is_locked(folder):
            if not wait:
                return JobResult("locked")
            time.sleep(LOCK_POLL_SECONDS)
            continue
        if (folder / RESULT).exists():  # in this order: a result is written before its lock is released
            break
        status, message = _run_process(cell, config, options, gpu, stop)
        if stop() or is_locked(folder) or (folder / RESULT).exists():
            continue
        reason, more_options = _remedy(cell, folder, status, message)
        if more_options is None or reason in retries:
            message = message or reason
            if retries:
                message += f" (tried again after {', '.join(retries)})"
            state.record_failure(config.out, cell, message, shell_command(cell, config.out))
            return JobResult("failed", message, tuple(retries))
        retries.append(reason)
        options += more_options
    state.clear_failure(config.out, cell)
    return JobResult("finished", state.format_score(folder), tuple(retries))


def command(cell: Cell, out: Path) -> list[str]:
    """The script and its arguments, to start or resume the run."""
    folder = out / cell.name
    if (folder / OPTIONS).exists():
        return [str(cell.script), "--resume", str(folder)]
    return [str(cell.script), *cell.args, "--out", str(folder)]


def shell_command(cell: Cell, out: Path) -> str:
    return f"{this_python()} {shlex.join(command(cell, out))}"


def _run_process(
    cell: Cell, config: JobConfig, options: list[str], gpu: int | None, stop: Stop
) -> tuple[ExitStatus, str]:
    """One process from start to end: its exit status and error message."""
    env = {**os.environ, "OMP_NUM_THREADS": str(config.threads), "TQDM_DISABLE": "1"}
    if gpu is not None:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        env["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    log = state.log_path(config.out, cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    start = log.stat().st_size if log.exists() else 0
    process = Process([*command(cell, config.out), *options], env, log)
    try:
        status = _wait(process, config.out / cell.name, config.stall, stop)
    finally:
        _terminate(process)
    return status, _error_message(log, start)


def _wait(process: Process, folder: Path, stall: float, stop: Stop) -> ExitStatus:
    """Wait for the end of the process; pass on `stop`, and give up after `stall` seconds without progress."""
    since, progress, stopping = time.monotonic(), _progress(process, folder), 0
    while True:
        if (status := process.wait(POLL_SECONDS)) is not None:
            return status
        if (level := stop()) > stopping:
            process.terminate() if level == 1 else process.kill()
            stopping = level
        if (now := _progress(process, folder)) != progress:
            since, progress = time.monotonic(), now
        elif time.monotonic() - since > stall:
            return "stalled"


def _progress(process: Process, folder: Path) -> tuple[int, int]:
    """A value that changes as the run advances: the time of its heartbeat, or CPU time before the first one."""
    try:
        root = psutil.Process(process.pid)
        with suppress(OSError):
            modified = (folder / heartbeat.FILE).stat().st_mtime_ns
            if modified > 1e9 * root.create_time():  # else an earlier process wrote it
                return modified, 0
        times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    except psutil.Error:
        return -1, 0
    return -1, int(sum(t.user + t.system for t in times) / MIN_CPU_SECONDS)


def _terminate(process: Process) -> None:
    if process.wait(0) is None:
        process.terminate()
        if process.wait(GRACE_SECONDS) is None:
            process.kill()
            process.wait(GRACE_SECONDS)


def _error_message(log: Path, start: int) -> str:
    """The message of a user error, or the last line of a traceback, after byte `start` of the log."""
    with open(log, "rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or [line for line in lines if line.strip()] or [""])[-1]


def _remedy(cell: Cell, folder: Path, status: ExitStatus, message: str) -> tuple[str, list[str] | None]:
    """The reason why the run ended, and the options to add for a retry; None: a retry would not help."""
    config = json.loads((folder / CONFIG).read_text("utf-8")) if (folder / CONFIG).exists() else {}
    if status == "stalled":
        return "it stalled", []
    if status < 0 or status in STOPPED:
        number = -status if status < 0 else status - 128
        return f"it was killed by {signal.Signals(number).name}", []
    if message.startswith(OUT_OF_MEMORY):
        micro_bs = config.get("micro_bs") or cell.micro_bs
        smaller = max((n for n in range(1, micro_bs // 2 + 1) if cell.batch_size % n == 0), default=None)
        return "running out of memory", [f"--micro_bs={smaller}"] if smaller else None
    if message.startswith(DIVERGED) and config.get("precision") != "fp32":
        return "a NaN or infinite loss", ["--precision=fp32"]
    if message.startswith(CACHE_CUT_SHORT):
        return "a cache that was cut short", []
    taken = "another process" in message or "exists already" in message
    if status == 2 and taken and (folder / OPTIONS).exists():
        return "another process using it", []
    return f"exit status {status}", None
