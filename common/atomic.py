"""A file or folder that we write is whole or not there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import disk_errors


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, for a file or a folder, that takes its place when the block ends well."""
    # the number of the process keeps two that write the same place apart; the suffix stays, some writers go by it
    part = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with disk_errors(path.parent):
            yield part
            os.replace(part, path)
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        part.unlink(missing_ok=True)
