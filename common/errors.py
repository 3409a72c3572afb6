"""What the person at the keyboard can fix."""

import errno
import signal
from collections.abc import Iterator
from contextlib import contextmanager

# how the messages begin that a sweep knows an answer to
DIVERGED = "the loss is no longer a number"
OUT_OF_MEMORY = "out of memory at a batch of"


class UserError(Exception):
    """One line: what is wrong, what was found and expected, what to do. Ends a run with exit status 2.

    Any other exception is a bug of ours and keeps its traceback.
    """


class Stopped(Exception):
    """A signal ended the run after a step; all that it had is saved."""

    def __init__(self, number: int, step: int):
        super().__init__(f"stopped by {signal.Signals(number).name} after step {step:,}")
        self.number = number


@contextmanager
def disk_errors(where: object, option: str = "--out") -> Iterator[None]:
    """Turn a full or read-only disk into a message that names the place, and the option that names another."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"no space left on the disk of {where}: free some, or write elsewhere with {option}"
            ) from None
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR):
            raise UserError(
                f"cannot write to {where} ({error.strerror}): write elsewhere with {option}"
            ) from None
        raise
