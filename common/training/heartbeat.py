"""A heartbeat file, for other processes to observe a run. Nothing here imports torch."""

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
INTERVAL = 2.0  # seconds


def progress_writer(folder: Path, steps: int, seconds: float) -> Callable[["Progress"], None]:
    """Returns a function that writes the run's progress, at most every `INTERVAL` seconds.

    `seconds`: spent before this session. Those of `Progress` are of its last checkpoint.
    """
    start, written = time.monotonic() - seconds, float("-inf")

    def write(progress: "Progress") -> None:
        nonlocal written
        if (now := time.monotonic()) - written < INTERVAL:
            return
        written = now
        content = {
            "step": progress.step,
            "steps": steps,
            "seconds": now - start,
            "images_per_second": progress.images / progress.train_seconds if progress.train_seconds else None,
            "best": progress.best_score if progress.best else None,  # on the selection set
        }
        with suppress(OSError, UserError), atomic_write(folder / FILE) as part:  # checkpoints report a full disk
            part.write_text(json.dumps(content), "utf-8")

    return write


def keep_alive(folder: Path) -> Callable[[], None]:
    """Returns a function that touches the file while the run evaluates, at most every `INTERVAL` seconds."""
    touched = float("-inf")

    def touch() -> None:
        nonlocal touched
        if (now := time.monotonic()) - touched >= INTERVAL:
            touched = now
            with suppress(OSError):  # the file does not exist before the first step
                os.utime(folder / FILE)

    return touch


def remove(folder: Path) -> None:
    """Delete the file of a finished run."""
    (folder / FILE).unlink(missing_ok=True)
