"""Unpack an untrusted archive into a folder: nothing outside it, no links, no devices, no zip bombs.

tarfile's "data" filter allows links, zipfile has no filter, and neither limits the size. So only regular files are read,
as streams, and written here: with the user's permissions, never over another file.
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
MAX_RATIO = 20  # unpacked to packed size; about 1 for images, a thousand for a bomb
SMALL = 50 * 10**6  # bytes that are always allowed: text compresses well, too

READ_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, OSError,
    RuntimeError,  # encrypted, or an unknown compression
    ValueError,  # an invalid file name
)  # fmt: skip


def unpack(archive: Path, folder: Path, option: str = "--data_dir") -> None:
    """Write all files of `archive` below `folder`; if this fails, the caller deletes `folder`.

    `option` names another place for `folder`, for errors of a full or read-only disk.

    Raises:
        UserError: not an archive, a broken or unsafe one, or a full disk.
    """
    from tqdm import tqdm

    limit = min(MAX_BYTES, max(SMALL, MAX_RATIO * archive.stat().st_size))
    members = _zip(archive) if archive.suffix.lower() == ".zip" else _tar(archive)
    total = 0
    try:
        with disk_errors(folder, option):
            bar = tqdm(members, archive.name, unit=" files", disable=None)
            for count, (name, size, content) in enumerate(bar, 1):
                total += size  # both libraries read no more than the size in the header
                if total > limit or count > MAX_FILES:
                    raise _UnsafeArchive(
                        f"unpacks to more than {limit:,} bytes or {MAX_FILES:,} files, like a zip bomb"
                    )
                if content is None:
                    continue
                path = folder / _safe_path(name)
                path.parent.mkdir(parents=True, exist_ok=True)
                with content, open(path, "xb") as out:
                    copyfileobj(content, out, 1 << 20)
    except FileExistsError as error:
        raise UserError(f"{archive} is not unpacked: it holds {Path(error.filename).name} twice") from None
    except _UnsafeArchive as error:
        raise UserError(f"{archive} is not unpacked: it {error}; do not trust it") from None
    except READ_ERRORS as error:
        reason = str(error).splitlines()[0].rstrip(":") if str(error) else type(error).__name__
        raise UserError(f"{archive} cannot be unpacked ({reason}): delete it and fetch it again") from None


class _UnsafeArchive(Exception):
    """The archive has a member that could do harm."""


Member = tuple[str, int, IO[bytes] | None]  # name, bytes, content; None for a folder: files create theirs


def _zip(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as members:
        for info in members.infolist():
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _UnsafeArchive(f"holds a link or a device ({info.filename})")
            if info.flag_bits & 1:
                raise UserError(f"{archive} is encrypted: unpack it with its password, and name the folder")
            yield info.filename, info.file_size, None if info.is_dir() else members.open(info)


def _tar(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as members:
        for info in members:
            if not (info.isreg() or info.isdir()) or info.issparse():
                raise _UnsafeArchive(f"holds a link or a device ({info.name})")
            yield info.name, info.size, members.extractfile(info)  # None for a folder


def _safe_path(name: str) -> PurePosixPath:
    """The member's name as a relative path that stays below the folder on any system."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive or not path.parts:
        raise _UnsafeArchive(f"has a path outside its folder ({name})")
    return path
