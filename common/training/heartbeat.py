"""A run's sign of life, for whoever watches it from outside. Nothing here loads torch."""

import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from ..files.atomic import atomic_write

if TYPE_CHECKING:
    from .checkpoint import Progress

FILE = "progress.json"  # in the run folder while it trains
EVERY = 2.0  # seconds


def progress_writer(folder: Path, steps: int) -> Callable[["Progress"], None]:
    """Returns a function that writes the run's progress, at most every `EVERY` seconds."""
    before = float("-inf")

    def beat(at: "Progress") -> None:
        nonlocal before
        if (now := time.monotonic()) - before < EVERY:
            return
        before = now
        told = {
            "step": at.step,
            "steps": steps,
            "seconds": at.seconds + at.train_seconds,
            "images_per_second": at.seen / at.train_seconds if at.train_seconds else None,
            "best": at.best_score if at.best else None,  # on what chooses the epoch
        }
        with (
            suppress(OSError, UserError),
            atomic_write(folder / FILE) as part,
        ):  # a full disk is the checkpoint's to tell
            part.write_text(json.dumps(told), "utf-8")

    return beat


def keep_alive(folder: Path) -> Callable[[], None]:
    """What shows, while a run evaluates, that it still lives: its file becomes newer."""
    before = float("-inf")

    def beat() -> None:
        nonlocal before
        if (now := time.monotonic()) - before >= EVERY:
            before = now
            with suppress(OSError):  # before the first step there is no such file
                os.utime(folder / FILE)

    return beat


def remove(folder: Path) -> None:
    """A finished run gives no sign of life."""
    (folder / FILE).unlink(missing_ok=True)
