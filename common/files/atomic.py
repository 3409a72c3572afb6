"""Atomic writes: a file or folder is complete or absent, and only one process writes it."""

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from ..errors import UserError, disk_errors

LOCK = ".lock"
MAX_TRIES = 5  # before a lock counts as held


@contextmanager
def atomic_write(path: Path, option: str = "--out") -> Iterator[Path]:
    """Yield a temporary path beside `path`, for a file or a folder, and rename it to `path` when the block succeeds.

    If the disk is full or read-only, the error suggests `option` to choose another location.
    """
    # the random part separates concurrent writers; the suffix is kept because some writers depend on it
    temporary = path.with_name(f".{path.stem}.{token_hex(4)}.part{path.suffix}")
    try:
        with disk_errors(path.parent, option):
            yield temporary
            os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def check_new(path: Path, option: str) -> None:
    """Check, before any work, that `path` can be created.

    Raises:
        UserError: it exists already, or its folder does not.
    """
    if path.exists():
        raise UserError(f"{path} exists already: choose another file with {option}, or move it away")
    if not path.parent.is_dir():
        raise UserError(f"no folder {path.parent} for {path.name}: create it, or choose another file with {option}")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the system releases it when the process ends, however it ends.

    Raises:
        UserError: another process holds it, or the folder is not writable.
    """
    with disk_errors(folder):
        handle = open(folder / LOCK, "a+")  # noqa: SIM115 (NFS needs the file open in the mode of the lock)
    with handle:
        for _ in range(MAX_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.1)  # `is_locked` also holds it briefly
        else:
            raise UserError(f"another process is using {folder}: wait for it, or stop it")
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process, on this machine or another that shares the disk, holds the folder's lock."""
    try:
        with open(folder / LOCK) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def exclusive(folder: Path, action: str) -> Iterator[None]:
    """Wait until no other process creates the same folder.

    The lock file is not deleted: a third process could lock a new one while the second waits for the old.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"another process is {action} {folder}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
