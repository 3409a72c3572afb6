"""Ctrl-C, SIGTERM and SIGHUP, deferred to the end of a training step."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from accelerate import Accelerator

from ..errors import stop_signals

SYNC_EVERY = 10  # steps between exchanges of signals among processes


@contextmanager
def stop_signal(accelerator: Accelerator) -> Iterator[Callable[[int], int]]:
    """Within the block the first signal of a kind is recorded, the second one has its previous handler.

    Yields step -> the number of the signal received, 0: none; the same on every process. Only the main thread
    receives signals.
    """
    received, handlers = 0, {}

    def record(number: int, _: object) -> None:
        nonlocal received
        received = number
        signal.signal(number, handlers[number])

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, record) for number in stop_signals()}

    def signal_received(step: int) -> int:
        if accelerator.num_processes == 1:
            return received
        if step % SYNC_EVERY:
            return 0
        highest = torch.tensor(received, device=accelerator.device)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
        return int(highest)

    try:
        yield signal_received
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
