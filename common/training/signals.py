"""Ctrl-C and SIGTERM, as a question that the loop asks between two steps."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

SIGNALS = (signal.SIGINT, signal.SIGTERM)
EVERY = 10  # steps after which several processes agree


@contextmanager
def stop_signal(accelerator: Accelerator) -> Iterator[Callable[[int], int]]:
    """Within the block a signal is noted, and a second one of its kind acts as it always does.

    Yields step -> the number of the signal that came, 0 without one; the same on every process. Threads other than
    the main one are given no signals: there the answer is 0.
    """
    came, before = [0], {}

    def note(number: int, _: object) -> None:
        came[0] = number
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in SIGNALS}

    def asked(step: int) -> int:
        if accelerator.num_processes == 1:
            return came[0]
        if step % EVERY:
            return 0
        told = torch.tensor(came[0], device=accelerator.device)
        torch.distributed.all_reduce(told, torch.distributed.ReduceOp.MAX)
        return int(told)

    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
