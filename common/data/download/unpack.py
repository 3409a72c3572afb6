"""Unpack an untrusted archive into a folder: nothing outside it, no links, no devices, no zip bombs.

tarfile's own "data" filter lets links through and zipfile has none; neither counts. So only regular files are
taken, as streams, and written by us: with the user's permissions, never over another file.
"""

import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path, PurePosixPath, PureWindowsPath
from shutil import copyfileobj
from typing import IO

from ...errors import UserError, disk_errors

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
MAX_FILES = 1_000_000
MAX_BYTES = 200 * 10**9
MAX_RATIO = 20  # unpacked to packed; images hardly shrink, a bomb grows a thousandfold ...
SMALL = 50 * 10**6  # ... but in so few bytes a text file may do so too

NOT_AN_ARCHIVE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError,
    RuntimeError,  # encrypted, or a compression that zipfile does not know
    ValueError,  # a name that no file can have
)  # fmt: skip


def unpack(archive: Path, folder: Path) -> None:
    """Write all files of `archive` below `folder`, which the caller throws away when this fails.

    Raises:
        UserError: no archive, a broken one, one that means harm, or the disk is full.
    """
    from tqdm import tqdm

    limit = min(MAX_BYTES, max(SMALL, MAX_RATIO * archive.stat().st_size))
    members = _zip(archive) if archive.suffix == ".zip" else _tar(archive)
    total = 0
    try:
        with disk_errors(folder, "--data_dir"):
            bar = tqdm(members, archive.name, unit=" files", disable=None)
            for count, (name, size, content) in enumerate(bar, 1):
                total += size  # never less than what is read: both libraries stop at the size in the header
                if total > limit or count > MAX_FILES:
                    raise _Refused(
                        f"unpacks to more than {limit:,} bytes or {MAX_FILES:,} files, as a bomb does"
                    )
                if content is None:
                    continue
                path = folder / _inside(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, open(path, "xb") as out:
                    copyfileobj(content, out, 1 << 20)
    except FileExistsError as error:
        raise UserError(f"{archive} is not unpacked: it holds {Path(error.filename).name} twice") from None
    except _Refused as error:
        raise UserError(f"{archive} is not unpacked: it {error}; do not trust it") from None
    except NOT_AN_ARCHIVE as error:
        why = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(f"{archive} cannot be unpacked ({why}): delete it and fetch it again") from None


class _Refused(Exception):
    """What an honest archive does not do."""


Member = tuple[
    str, int, IO[bytes] | None
]  # name, bytes, content; a folder has none: files bring theirs along


def _zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as members:
        for info in members.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _Refused(f"holds a link or a device ({info.filename})")
            yield info.filename, info.file_size, None if info.is_dir() else members.open(info)


def _tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as members:
        for info in members:
            if not (info.isreg() or info.isdir()) or info.issparse():
                raise _Refused(f"holds a link or a device ({info.name})")
            yield info.name, info.size, members.extractfile(info)  # None for a folder


def _inside(name: str) -> PurePosixPath:
    """The name as a path that cannot leave a folder, on any system."""
    path = PurePosixPath(name)
    if (
        path.is_absolute()
        or ".." in path.parts
        or "\\" in name
        or PureWindowsPath(name).drive
        or not path.parts
    ):
        raise _Refused(f"climbs out of its folder ({name})")
    return path
