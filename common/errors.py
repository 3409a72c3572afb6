"""Errors that the user can fix."""

import argparse
import errno
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import NoReturn

# Prefixes of messages that a sweep recognises, to retry with other settings
DIVERGED = "the loss is NaN or infinite"
OUT_OF_MEMORY = "out of memory at a batch of"
CACHE_CUT_SHORT = "the image cache was cut short while it was in use"
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
NOT_WRITABLE = (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
DISK_FULL_TEXTS = (*map(os.strerror, DISK_FULL), "requested and ")  # NumPy's: 100 requested and 3 written


class UserError(Exception):
    """One line: what is wrong, what was found and expected, what to do. Ends a run with `exit_status`.

    Any other exception is a bug of ours and keeps its traceback.
    """

    exit_status = 2


class TrainingError(UserError):
    """The settings cannot train this network here: a loss that is no number, too little memory. The same command fails again."""

    exit_status = 3


def printable(text: str) -> str:
    """`text` on one line; control and other unprintable characters are escaped, as in \\x1b."""
    return "".join(c if c.isprintable() else _escape(c) for c in text)


# What tqdm writes to move the cursor between its bars, and to begin and end a bar
CURSOR = re.compile(r"(?:\n|\x1b\[A)*")
LINE = re.compile(r"(\r?)(.*?)(\r?)", re.S)


def printable_lines(text: str) -> str:
    """`text` as it may be written to a terminal: names from elsewhere move no cursor and set no colours.

    Lines, tabs and progress bars stay; other control characters are escaped as by `printable`.
    """
    if text.isprintable() or CURSOR.fullmatch(text):
        return text
    start, middle, end = LINE.fullmatch(text).groups()
    return start + "".join(c if c in "\n\t" or c.isprintable() else _escape(c) for c in middle) + end


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not valid UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors take one line and suggest the nearest option or command."""

    def error(self, message: str) -> NoReturn:
        known = {
            **self._option_string_actions,
            **{name: None for action in self._actions for name in action.choices or ()},
        }
        unknown = re.search(r"unrecognized arguments: (-[^\s=]+)|invalid choice: '(\w+)'", message)
        near = get_close_matches(unknown[1] or unknown[2], known, 1, cutoff=0.8) if unknown else ()
        hint = f"; did you mean {near[0]}?" if near else ""
        self.exit(2, f"error: {message}{hint} ({self.prog} --help)\n")


class Stopped(Exception):
    """A signal ended the run after a step; its state is saved."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step:,}")
        self.number = number


def stop_signals() -> list[signal.Signals]:
    """The signals that ask a process to end: Ctrl-C, a scheduler's SIGTERM, a closed terminal's SIGHUP; not ignored ones (nohup)."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]


@contextmanager
def disk_errors(where: object, option: str = "--out") -> Iterator[None]:
    """A full, read-only or vanished disk becomes a `UserError` that names `where`, and the option to change it."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if _disk_is_full(error):
            raise UserError(
                f"no space left on the disk of {where}: free some, or write elsewhere with {option}"
            ) from None
        if getattr(error, "errno", None) in NOT_WRITABLE:
            raise UserError(f"cannot write to {where} ({error.strerror}): write elsewhere with {option}") from None
        if getattr(error, "errno", None) == errno.ENOENT and not os.path.exists(str(where)):
            if not _takes_files(parent := _existing_parent(str(where))):
                raise UserError(
                    f"cannot write to {where} (nobody can write in {parent}): write elsewhere with {option}"
                ) from None
            raise UserError(f"{where} is gone: it was moved or deleted while in use") from None
        raise


def _existing_parent(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(os.path.abspath(path))
    return path


def _takes_files(folder: str) -> bool:
    """Whether a file can be created there: /proc and the like report new files in them as missing."""
    import tempfile

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether a full disk caused the error: torch chains its errors, safetensors and NumPy keep only the message."""
    while error:
        if getattr(error, "errno", None) in DISK_FULL or any(text in str(error) for text in DISK_FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False
