"""A cache of decoded pixels on disk, keyed by the content of the images.

<cache>/<key>/pixels.npy     (N, H, W, 3) uint8, a memory map shared by all processes
<cache>/<key>/about.json     unreadable images and reasons; written last, before the folder is renamed to <key>
<cache>/<key>.<boot>.part/   incomplete; the next process continues it
<cache>/seen/<signature>     the content hash of files with these names, sizes and times, so they need not be read again
<cache>/.<key>.lock          one process at a time; the system releases it when a process dies

<key> is a SHA-256 of the images' bytes, in order, and of everything that determines their pixels. The cache may be deleted
at any time. Added, removed or changed images make another entry beside the old one.
"""

import errno
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError, disk_errors
from ...files.atomic import atomic_write, exclusive
from ...files.disk_cache import CACHE_VARIABLE, cache_dir
from ...files.threads import thread_map
from ...spec import Preprocess
from ..readers.hdf5 import StoredImages
from .bus_error import explain_bus_errors
from .decode import decode, decode_each, fit, stored_size
from .open import FORMATS, open_image

if TYPE_CHECKING:
    from io import BufferedRandom

    import numpy as np

FORMAT_VERSION = 1  # of these folders and of decode.py: raise it when pixels would differ
UNREADABLE = "unreadable"
N_VERIFIED = 4  # images decoded again whenever an entry is opened


def decode_cached(
    images: "Sequence[str] | StoredImages | np.ndarray", preprocess: Preprocess, native: tuple[int, int] | None
) -> tuple["np.ndarray", dict[int, str]]:
    """`decode.decode` with a cache on disk.

    Unreadable images are tried again: the cause may be gone.

    Raises:
        UserError: the disk is full or not writable.
    """
    import numpy as np

    if isinstance(images, np.ndarray):  # in memory already
        return decode(images, preprocess, native)
    size = stored_size(preprocess, native)
    folder = cache_dir() / content_hash(images, size, preprocess)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        bad = _verify(folder, images, size, preprocess)
        if bad is None or bad:
            with exclusive(folder, "decoding into"):
                bad = _verify(folder, images, size, preprocess)  # another process may have finished it
                if bad is None:
                    bad = _build(folder, images, size, preprocess)
                elif bad:
                    bad = _retry_unreadable(folder, images, size, preprocess, bad)
    explain_bus_errors(folder / "pixels.npy")
    return np.asarray(np.load(folder / "pixels.npy", mmap_mode="r")), bad


def content_hash(
    images: "Sequence[str] | StoredImages | np.ndarray", size: tuple[int, int], preprocess: Preprocess
) -> str:
    """The key of the decoded pixels of these images: 32 hex digits.

    Files are read only if their names, sizes and times are new.
    """
    import numpy as np
    import PIL

    if isinstance(images, np.ndarray):
        content = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    else:
        content = files_hash([images.path] if isinstance(images, StoredImages) else images)
    settings = (
        FORMAT_VERSION,
        size,
        preprocess.crop,
        preprocess.interpolation,
        preprocess.squash,
        PIL.__version__,
        FORMATS,
    )
    if preprocess.value_range or preprocess.bands:
        settings += (preprocess.value_range, preprocess.bands)
    return _digest(f"{content}\n{len(images)}\n{settings}")


def files_hash(files: Sequence[str]) -> str:
    """A hash of the bytes of the files, in order."""
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        (cache_dir() / "seen").mkdir(parents=True, exist_ok=True)
    seen = cache_dir() / "seen" / _digest("\n".join(map(_signature, files)))
    if seen.exists():
        return seen.read_text()
    digests = list(thread_map(_file_hash, files, "read", "file"))
    content = _digest("\n".join(digests))
    if UNREADABLE not in digests:  # may be readable next time
        with atomic_write(seen, CACHE_VARIABLE) as part:
            part.write_text(content)
    return content


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _signature(path: str) -> str:
    try:
        stat = os.stat(path)
    except OSError:
        return UNREADABLE
    return f"{os.path.abspath(path)}\0{stat.st_size}\0{stat.st_mtime_ns}"


def _file_hash(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # decoding reports the reason
        return UNREADABLE


def _verify(folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess) -> dict[int, str] | None:
    """{position: reason} of an entry's unreadable images; None without an entry, or if a few images, decoded again, differ."""
    import numpy as np

    if not folder.is_dir():
        return None
    try:
        bad = _read_unreadable(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        sample = random.Random().sample(range(len(images)), min(N_VERIFIED, len(images)))
        if all(
            np.array_equal(pixels[i], fit(open_image(images[i], preprocess), size, preprocess))
            for i in sample
            if i not in bad
        ):
            return bad
    except (OSError, EOFError, ValueError, KeyError):  # truncated, or not a cache entry
        pass
    return None


def _read_unreadable(folder: Path) -> dict[int, str]:
    bad = json.loads((folder / "about.json").read_text("utf-8"))["bad"]
    return {int(i): reason for i, reason in bad.items()}


def _build(folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess) -> dict[int, str]:
    """Decode the images that an interrupted process has not; the folder is renamed to its key when complete."""
    import numpy as np

    if folder.is_dir():
        print(f"{folder} does not match the images: decoding them again", file=sys.stderr)
        shutil.rmtree(folder)
    part = _partial_dir(folder)
    part.mkdir(exist_ok=True)
    image_bytes = size[0] * size[1] * 3
    with _open(part / "pixels.npy") as pixels, _open(part / "done") as done:
        _check_free_space(part, len(images) * image_bytes)
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *size, 3)}
        np.lib.format.write_array_header_1_0(pixels, header)
        start = pixels.tell()
        finished = done.read()

        def write(i: int, image: "np.ndarray") -> None:
            _write(pixels, image, start + i * image_bytes)
            os.pwrite(done.fileno(), b"1", i)

        pixels.flush()
        pixels.truncate(start + len(images) * image_bytes)  # unreadable images stay black
        missing = [i for i in range(len(images)) if finished[i : i + 1] != b"1"]
        bad = decode_each(images, size, preprocess, missing, write)
        os.fsync(pixels.fileno())
    (part / "done").unlink()
    (part / "about.json").write_text(json.dumps({"bad": bad}), "utf-8")
    os.replace(part, folder)
    return bad


def _retry_unreadable(
    folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess, bad: dict[int, str]
) -> dict[int, str]:
    """Decode the unreadable images once more."""
    image_bytes = size[0] * size[1] * 3
    with _open(folder / "pixels.npy") as pixels:
        start = os.stat(folder / "pixels.npy").st_size - len(images) * image_bytes
        remaining = decode_each(
            images, size, preprocess, bad, lambda i, image: _write(pixels, image, start + i * image_bytes)
        )
    if remaining.keys() != bad.keys():
        with atomic_write(folder / "about.json", CACHE_VARIABLE) as part:
            part.write_text(json.dumps({"bad": remaining}), "utf-8")
    return remaining


def _partial_dir(folder: Path) -> Path:
    """The folder of an incomplete entry. Those of an earlier boot are deleted: a power failure may have lost their data."""
    boot = "0"
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    part = folder.with_name(f"{folder.name}.{boot}.part")
    for old in folder.parent.glob(f"{folder.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    return part


def _write(file: "BufferedRandom", image: "np.ndarray", offset: int) -> None:
    """A full disk is an exception here, maybe after a short write; through a memory map it would be a crash."""
    if os.pwrite(file.fileno(), image.tobytes(), offset) < image.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(path: Path) -> "BufferedRandom":
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _check_free_space(part: Path, needed: int) -> None:
    """Raises: UserError: less space on the disk than the rest of the pixels needs."""
    used = sum(os.stat(entry).st_blocks * 512 for entry in os.scandir(part))
    free = shutil.disk_usage(part).free
    if free < needed - used:
        raise UserError(
            f"the decoded images take {needed / 1e9:.1f} GB in {part.parent}, {free / 1e9:.1f} GB are free: free some, set "
            f"{CACHE_VARIABLE} to another folder, use a smaller --image_size, or pass --no_cache if they fit in memory"
        )
