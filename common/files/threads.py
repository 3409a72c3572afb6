"""A function of many files, computed in threads, with a progress bar."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item, Result = TypeVar("Item"), TypeVar("Result")
BLOCK = 8192  # items submitted at once; each takes a kilobyte until it is done


def thread_map(
    function: Callable[[Item], Result], items: Sequence[Item], title: str, unit: str = "img"
) -> Iterator[Result]:
    """The results in the order of the items. Threads run in parallel where libraries release the interpreter's lock.

    Pending items are cancelled if a result raises or the iteration stops.
    """
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(items), desc=title, unit=unit, leave=False, disable=None) as bar,
    ):
        try:
            for start in range(0, len(items), BLOCK):
                for result in pool.map(function, items[start : start + BLOCK]):
                    bar.update()
                    yield result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
