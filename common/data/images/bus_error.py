"""One line instead of a bus error when a mapped file is cut short while it is in use."""

import ctypes
import os
import signal
from pathlib import Path

from ...errors import CACHE_CUT_SHORT

LIBC, SIG_DFL = ctypes.CDLL(None), 0
SIZES: dict[str, int] = {}  # of the mapped files


def explain_bus_errors(mapped: Path) -> None:
    """From now on a bus error ends the process with one line and exit status 2 if `mapped` is shorter than now."""
    SIZES[str(mapped)] = mapped.stat().st_size
    LIBC.signal(int(signal.SIGBUS), _handler)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _handler(number: int) -> None:
    """Python's own handlers run after the faulting instruction, which fails again and again."""
    for path, size in SIZES.items():
        if os.path.isfile(path) and os.path.getsize(path) < size:
            os.write(2, f"error: {CACHE_CUT_SHORT} ({path}): continue with --resume\n".encode())
            os._exit(2)
    LIBC.signal(number, SIG_DFL)
