"""The cells of a sweep as tasks of a Ray cluster whose machines share a disk.

Ray schedules them, and restarts a task when its machine is lost; the run then resumes from its folder.
"""

import os
import socket
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

from ..errors import UserError
from . import state
from .job import JobConfig, JobResult, run_job, shell_command
from .plan import Cell
from .process import ROOT
from .workers import count_signals

POLL_SECONDS = 1.0
MAX_RETRIES = 5  # of a task whose machine is lost
CONNECT_TIMEOUT = 5.0  # seconds
TOKEN_FILE = Path("~/.ray/auth_token")
TOKEN_VARIABLES = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def run(cells: Sequence[Cell], config: JobConfig, address: str, gpu: bool) -> Iterator[tuple[Cell, JobResult] | None]:
    """Like `workers.run`. `address`: of a cluster, or "local"; `gpu`: one for each run, if the cluster has any.

    Raises:
        UserError: no Ray, no such cluster, or no machine of it has enough cores.
    """
    ray = _connect(address)
    try:
        _check_cores(ray, config.threads)
        num_gpus = int(gpu and ray.cluster_resources().get("GPU", 0) > 0)
        task = ray.remote(num_cpus=config.threads, num_gpus=num_gpus, max_retries=MAX_RETRIES, retry_exceptions=False)(
            run_job
        )
        yield from _events(ray, task, cells, config)
    finally:
        ray.shutdown()


def _connect(address: str):
    """The module `ray`, connected."""
    if address not in ("auto", "local"):
        _check_reachable(address)
    if any(key in os.environ for key in TOKEN_VARIABLES) or TOKEN_FILE.expanduser().exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # a cluster without a token ignores it
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # seconds, instead of 20
    try:
        import ray
    except ImportError:
        raise UserError("--ray needs Ray: pip install 'ray>=2.51'") from None
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
            log_to_driver=False,
            include_dashboard=False if address == "local" else None,
        )
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        if "AuthenticationError" in "".join(traceback.format_exception(error)):
            raise UserError(
                f"--ray {address}: the cluster requires a token, which this machine lacks or has another: copy {TOKEN_FILE} "
                "from the machine that started the cluster"
            ) from None
        raise UserError(f"--ray {address}: cannot connect to Ray ({str(error).splitlines()[0]})") from None
    return ray


def _check_reachable(address: str) -> None:
    """Raises: UserError: nothing listens there; Ray itself retries for minutes."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        socket.create_connection((parts.hostname, parts.port), CONNECT_TIMEOUT).close()
    except (OSError, ValueError, TypeError) as error:
        raise UserError(
            f"--ray {address}: no Ray cluster there ({error}); expected HOST:PORT of ray start --head, auto or local"
        ) from None


def _check_cores(ray, threads: int) -> None:
    cores = max((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
    if threads > cores:
        raise UserError(
            f"no machine of the Ray cluster has {threads} cores, the most is {cores:.0f}: pass --threads {cores:.0f} or less"
        )


def _events(ray, task, cells: Sequence[Cell], config: JobConfig) -> Iterator[tuple[Cell, JobResult] | None]:
    stop_file = config.out / f".stop-{uuid4().hex}"  # visible to all machines
    with count_signals() as stop:
        try:
            shared, level = ray.put(config), partial(_stop_level, stop_file)
            pending = {task.remote(cell, shared, stop=level): cell for cell in cells}
            while pending and stop() < 2:
                if stop() and not stop_file.exists():
                    stop_file.write_text("1")
                    for reference in pending:
                        ray.cancel(reference)  # of those that have not started
                done, _ = ray.wait(list(pending), timeout=POLL_SECONDS)
                for reference in done:
                    cell = pending.pop(reference)
                    yield cell, _result(ray, reference, cell, config.out)
                yield None
            if pending:
                stop_file.write_text("2")
                time.sleep(POLL_SECONDS)  # for the jobs to read it
            for cell in pending.values():
                yield cell, JobResult("stopped")
        finally:
            stop_file.unlink(missing_ok=True)


def _stop_level(file: Path) -> int:
    """See `job.Stop`."""
    try:
        return int(file.read_text() or 1)
    except FileNotFoundError:
        return 0


def _result(ray, reference, cell: Cell, out: Path) -> JobResult:
    try:
        return ray.get(reference)
    except ray.exceptions.TaskCancelledError:
        return JobResult("stopped")
    except ray.exceptions.RayError as error:  # e.g. the machine was lost too often, or does not share the disk
        reason = str(error).strip().splitlines()[-1]
        state.record_failure(out, cell, reason, shell_command(cell, out))
        return JobResult("failed", reason)
