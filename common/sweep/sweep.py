"""Many runs, on this machine or a Ray cluster: a failed run does not stop the others."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass

from ..errors import disk_errors
from . import ray_backend, status, workers
from .job import JobConfig
from .plan import Cell


@dataclass(frozen=True, kw_only=True)
class Backend:
    """Where the runs are executed."""

    workers: int  # runs at a time on this machine
    gpus: int  # of this machine, to distribute
    ray: str | None  # the address of a cluster to use instead
    cpu_only: bool


def sweep(
    cells: Sequence[Cell], config: JobConfig, backend: Backend, log: Callable[[str], None], quiet: bool
) -> Counter[str]:
    """Run the cells; returns how many ended in each `JobResult.state`.

    Raises:
        UserError: `config.out` cannot be written to, or there is no such cluster.
    """
    with disk_errors(config.out):
        config.out.mkdir(parents=True, exist_ok=True)
    states: Counter[str] = Counter()
    if backend.ray:
        events = ray_backend.run(cells, config, backend.ray, gpu=not backend.cpu_only)
    else:
        events = workers.run(cells, config, backend.workers, backend.gpus)
    with closing(events), status.progress(config.out, len(cells), quiet) as update:
        for event in events:
            update(int(event is not None))
            if event is None:
                continue
            cell, result = event
            states[result.state] += 1
            if result.state in ("finished", "failed"):
                retried = result.retries if result.state == "finished" else ()  # a failure's message has them
                after = f" (tried again after {', '.join(retried)})" if retried else ""
                log(f"[{states.total()}/{len(cells)}] {cell.title} {result.state}: {result.message}{after}")
    return states
