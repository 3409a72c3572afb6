"""Ctrl-C, SIGTERM and SIGHUP: deferred to the end of a training step, immediate during an evaluation."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from ..errors import stop_signals

SYNC_EVERY = 10  # steps between exchanges of signals among processes


class Interrupted(BaseException):
    """A signal was received in an evaluation, which is repeated when the run resumes."""


@dataclass
class StopSignal:
    """The signal received so far, on one process or several."""

    accelerator: Accelerator
    number: int = 0  # 0: none
    evaluating: bool = False  # by one process alone: others would wait for it forever

    def received(self, step: int) -> int:
        """The number of the signal received, 0: none; the same on every process."""
        if self.accelerator.num_processes == 1:
            return self.number
        if step % SYNC_EVERY:
            return 0
        highest = torch.tensor(self.number, device=self.accelerator.device)
        torch.distributed.all_reduce(highest, torch.distributed.ReduceOp.MAX)
        return int(highest)

    @contextmanager
    def interrupts(self) -> Iterator[None]:
        """Within the block a signal, or one before it, raises `Interrupted`, unless there are several processes."""
        self.evaluating = self.accelerator.num_processes == 1
        try:
            if self.evaluating and self.number:
                raise Interrupted
            yield
        finally:
            self.evaluating = False


@contextmanager
def stop_signal(accelerator: Accelerator) -> Iterator[StopSignal]:
    """Within the block the first signal of a kind is recorded, the second one has its previous handler.

    Only the main thread receives signals.
    """
    stop, handlers = StopSignal(accelerator), {}

    def record(number: int, _: object) -> None:
        stop.number = number
        signal.signal(number, handlers[number])
        if stop.evaluating:
            raise Interrupted

    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.signal(number, record) for number in stop_signals()}
    try:
        yield stop
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
