"""The cells of a sweep on this machine, several at a time, each in its own process."""

import queue
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

from ..errors import UserError, stop_signals
from .job import JobConfig, JobResult, Stop, run_job
from .plan import Cell

POLL_SECONDS = 1.0


def run(cells: Sequence[Cell], config: JobConfig, workers: int, gpus: int) -> Iterator[tuple[Cell, JobResult] | None]:
    """Yield each cell with its result as it ends, and None about every second.

    Worker i uses GPU i modulo `gpus`. At the first signal to stop, running cells save a checkpoint and no new ones
    start; at the second they are killed.
    """
    slots: queue.SimpleQueue[int] = queue.SimpleQueue()
    for slot in range(workers):
        slots.put(slot)

    with count_signals() as stop, ThreadPoolExecutor(workers) as pool:

        def run_cell(cell: Cell, wait: bool) -> JobResult:
            slot = slots.get()
            try:
                return run_job(cell, config, slot % gpus if gpus else None, stop, wait)
            except (OSError, UserError) as error:  # e.g. a full disk; the others may succeed
                return JobResult("failed", str(error))
            finally:
                slots.put(slot)

        futures: dict[Future[JobResult], Cell] = {pool.submit(run_cell, cell, False): cell for cell in cells}
        try:
            while futures:
                done, _ = wait(futures, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    cell, result = futures.pop(future), future.result()
                    if result.state == "locked":  # by another sweep: wait for it after all others
                        futures[pool.submit(run_cell, cell, True)] = cell
                    else:
                        yield cell, result
                yield None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def count_signals() -> Iterator[Stop]:
    """Count the signals that ask to stop instead of exiting."""
    received = 0

    def count(number: int, _: object) -> None:
        nonlocal received
        received += 1

    handlers = {number: signal.signal(number, count) for number in stop_signals()}
    try:
        yield lambda: min(received, 2)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
