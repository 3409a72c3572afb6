"""The cells of a sweep on this machine: so many at a time, each a process of its own."""

import queue
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from ..errors import UserError
from .attempt import How, Outcome, Stop, carry_out
from .plan import Cell

LOOK = 1.0  # seconds between two looks at what has ended


def work(
    cells: Sequence[Cell],
    out: Path,
    how: How,
    workers: int,
    gpus: int,
    latest: Mapping[str, float],
) -> Iterator[tuple[Cell, Outcome] | None]:
    """Yields a cell and its outcome when it ends, in any order, and None now and then for whoever shows what goes on.

    Worker i has GPU i modulo `gpus`. `latest`: the time after which a cell, by its name, is not begun. After a signal
    the runs at work save what they have, and no other is begun; after a second one they are killed.
    """
    places: queue.SimpleQueue[int] = queue.SimpleQueue()
    for place in range(workers):
        places.put(place)

    with signals() as stop, ThreadPoolExecutor(workers) as pool:

        def one(cell: Cell, waits: bool) -> Outcome:
            place = places.get()
            gpu = place % gpus if gpus else None
            try:
                return carry_out(cell, out, how, latest.get(cell.name), gpu, stop, waits)
            except (OSError, UserError) as error:  # a full disk: the others may have more luck
                return Outcome("failed", str(error))
            finally:
                places.put(place)

        futures: dict[Future[Outcome], Cell] = {pool.submit(one, cell, False): cell for cell in cells}
        try:
            while futures:
                done, _ = wait(futures, LOOK, FIRST_COMPLETED)
                for future in done:
                    cell, outcome = futures.pop(future), future.result()
                    if (
                        outcome.state == "busy"
                    ):  # another sweep is at it: after all others there is time to wait for it
                        futures[pool.submit(one, cell, True)] = cell
                    else:
                        yield cell, outcome
                yield None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def signals() -> Iterator[Stop]:
    """Count Ctrl-C and SIGTERM instead of dying of them."""
    came = [0]

    def note(number: int, _: object) -> None:
        came[0] += 1

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: min(came[0], 2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
