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
TRIES = 5  # at a lock before it is taken for held


@contextmanager
def atomic_write(path: Path, option: str = "--out") -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, that takes its place when the block ends well.

    `option` names another place, if the disk is full or cannot be written to.
    """
    # a number of chance keeps two that write the same place apart; the suffix stays, some writers go by it
    part = path.with_name(f".{path.stem}.{token_hex(4)}.part{path.suffix}")
    try:
        with disk_errors(path.parent, option):
            yield part
            os.replace(part, path)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)


def check_new(path: Path, option: str) -> None:
    """Before work begins whose end is a file.

    Raises:
        UserError: there is something already, or no folder for it.
    """
    if path.exists():
        raise UserError(f"{path} exists already: name another file with {option}, or move it away")
    if not path.parent.is_dir():
        raise UserError(
            f"no folder {path.parent} for {path.name}: make it, or name another file with {option}"
        )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else works in the folder meanwhile: its lock is held while the process lives, however it ends.

    Raises:
        UserError: somebody does, or nobody may write there.
    """
    with disk_errors(folder):
        handle = open(folder / LOCK, "a+")  # noqa: SIM115 (NFS wants a file open for what its lock is for)
    with handle:
        for _ in range(TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            time.sleep(0.1)  # somebody may only have looked, see `busy`
        else:
            raise UserError(f"another process is working in {folder}: wait for it, or stop it")
        yield


def is_locked(folder: Path) -> bool:
    """Whether a process, on this machine or on another that shares the disk, has claimed the folder."""
    try:
        with open(folder / LOCK) as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def exclusive(folder: Path, doing: str) -> Iterator[None]:
    """Wait until no other process makes the same folder.

    The lock file beside it stays: removed, it would let a third process in beside a waiting second.
    """
    from filelock import FileLock, Timeout

    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"another process is {doing} {folder}: waiting for it", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
