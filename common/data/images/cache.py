"""Decode once: the pixels of all images in one file on the disk, found again by what the images hold.

<cache>/<content>/pixels.npy     (N, H, W, 3) uint8, read through a memory map that all processes share
<cache>/<content>/about.json     which images cannot be read, and why. Written last, before the folder gets its name
<cache>/<content>.<boot>.part/   not whole yet: taken up where it was left
<cache>/seen/<signature>         the content of files of these names, sizes and times: spares reading them again
<cache>/.<content>.lock          one process at a time; the system lets go of it when a process dies

<content> is a SHA-256 of the images' bytes, in their order, and of all that decides their pixels. Nothing in the cache is
needed: whoever wants the room back deletes it. Images that come, go or change make another cache beside the old one.
"""

import errno
import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ...errors import UserError, disk_errors
from ...files.atomic import atomic_write, exclusive
from ...files.disk_cache import CACHE_VARIABLE, cache_dir
from ...spec import Preprocess
from ..readers.hdf5 import StoredImages
from .decode import FORMATS, decode, decode_each, fit, open_image, stored_size

if TYPE_CHECKING:
    from io import BufferedRandom

    import numpy as np

FORM = 1  # of these folders and of the rules in decode.py: one more where pixels would come out otherwise
UNREADABLE = "unreadable"
CHECKED = 4  # images that are decoded again whenever a cache is opened


def decode_cached(
    images: "Sequence[str] | StoredImages | np.ndarray",
    preprocess: Preprocess,
    native: tuple[int, int] | None,
) -> tuple["np.ndarray", dict[int, str]]:
    """What `decode.decode` returns, from the disk; decoded now if it is not there.

    Images that could not be read are tried again: the reason may be gone.

    Raises:
        UserError: the disk is too small, or cannot be written to.
    """
    import numpy as np

    if isinstance(images, np.ndarray):  # in memory as it is
        return decode(images, preprocess, native)
    how = (stored_size(preprocess, native), preprocess)
    folder = cache_dir() / content_hash(images, *how)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        bad = _look(folder, images, *how)
        if bad is None or bad:
            with exclusive(folder, "decoding into"):
                bad = _look(folder, images, *how)  # another process may have made it meanwhile
                if bad is None:
                    bad = _build(folder, images, *how)
                elif bad:
                    bad = _retry_bad(folder, images, *how, bad)
    return np.asarray(np.load(folder / "pixels.npy", mmap_mode="r")), bad


def content_hash(
    images: "Sequence[str] | StoredImages | np.ndarray", size: tuple[int, int], preprocess: Preprocess
) -> str:
    """The name of the pixels that come of these images: 32 hex digits.

    Files are read for it only if their names, sizes and times have not been seen before.
    """
    import numpy as np
    import PIL

    if isinstance(images, np.ndarray):
        held = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    else:
        with disk_errors(cache_dir(), CACHE_VARIABLE):
            (cache_dir() / "seen").mkdir(parents=True, exist_ok=True)
            held = _held([images.path] if isinstance(images, StoredImages) else images)
    rule = (
        FORM,
        size,
        preprocess.crop,
        preprocess.interpolation,
        preprocess.squash,
        PIL.__version__,
        FORMATS,
    )
    return _digest(f"{held}\n{len(images)}\n{rule}")


def _held(files: Sequence[str]) -> str:
    """What the files hold, as a digest."""
    seen = cache_dir() / "seen" / _digest("\n".join(map(_state, files)))
    if seen.exists():
        return seen.read_text()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(_file_digest, files)
        digests = list(tqdm(read, "read", len(files), unit="file", leave=False, disable=None))
    held = _digest("\n".join(digests))
    if UNREADABLE not in digests:  # it may be readable next time
        with atomic_write(seen, CACHE_VARIABLE) as part:
            part.write_text(held)
    return held


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _state(path: str) -> str:
    try:
        told = os.stat(path)
    except OSError:
        return UNREADABLE
    return f"{os.path.abspath(path)}\0{told.st_size}\0{told.st_mtime_ns}"


def _file_digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # decoding it will tell why
        return UNREADABLE


def _look(
    folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess
) -> dict[int, str] | None:
    """Which images the cache could not read, if it is there and a few others, decoded again, are what it holds."""
    import numpy as np

    if not folder.is_dir():
        return None
    try:
        bad = _told(folder)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        some = [
            i for i in random.Random().sample(range(len(images)), min(CHECKED, len(images))) if i not in bad
        ]
        if all(np.array_equal(pixels[i], fit(open_image(images[i]), size, preprocess)) for i in some):
            return bad
    except (OSError, EOFError, ValueError, KeyError):  # cut short, or not ours
        pass
    return None


def _told(folder: Path) -> dict[int, str]:
    return {int(i): why for i, why in json.loads((folder / "about.json").read_text("utf-8"))["bad"].items()}


def _build(folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess) -> dict[int, str]:
    """Decode what an earlier attempt has not; the folder gets its name when all is there."""
    import numpy as np

    if folder.is_dir():
        print(f"{folder} does not match the images: decoding them again", file=sys.stderr)
        shutil.rmtree(folder)
    part = _part(folder)
    part.mkdir(exist_ok=True)
    image_bytes = size[0] * size[1] * 3
    with _opened(part / "pixels.npy") as pixels, _opened(part / "done") as done:
        _check_room(part, len(images) * image_bytes)
        form = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *size, 3)}
        np.lib.format.write_array_header_1_0(pixels, form)
        start = pixels.tell()
        there = done.read()

        def put(i: int, image: "np.ndarray") -> None:
            _write(pixels, image, start + i * image_bytes)
            os.pwrite(done.fileno(), b"1", i)

        pixels.flush()
        pixels.truncate(start + len(images) * image_bytes)  # images that cannot be read stay black
        missing = [i for i in range(len(images)) if there[i : i + 1] != b"1"]
        bad = decode_each(images, size, preprocess, missing, put)
        os.fsync(pixels.fileno())
    (part / "done").unlink()
    (part / "about.json").write_text(json.dumps({"bad": bad}), "utf-8")
    os.replace(part, folder)
    return bad


def _retry_bad(
    folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess, bad: dict[int, str]
) -> dict[int, str]:
    """Try those again that could not be read."""
    image_bytes = size[0] * size[1] * 3
    with _opened(folder / "pixels.npy") as pixels:
        start = os.stat(folder / "pixels.npy").st_size - len(images) * image_bytes
        still = decode_each(
            images, size, preprocess, bad, lambda i, image: _write(pixels, image, start + i * image_bytes)
        )
    if still.keys() != bad.keys():
        with atomic_write(folder / "about.json", CACHE_VARIABLE) as part:
            part.write_text(json.dumps({"bad": still}), "utf-8")
    return still


def _part(folder: Path) -> Path:
    """Where the cache is made. What another boot of the machine has left is gone: power may have failed before the disk."""
    boot = "0"
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    part = folder.with_name(f"{folder.name}.{boot}.part")
    for old in folder.parent.glob(f"{folder.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    return part


def _write(file: "BufferedRandom", image: "np.ndarray", where: int) -> None:
    """Written, not mapped: a full disk is an error, not a crash. It may show as a short write."""
    if os.pwrite(file.fileno(), image.tobytes(), where) < image.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _opened(path: Path) -> "BufferedRandom":
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _check_room(part: Path, need: int) -> None:
    """Raises: UserError: less room on the disk than the pixels still take."""
    here = sum(os.stat(entry).st_blocks * 512 for entry in os.scandir(part))
    free = shutil.disk_usage(part).free
    if free < need - here:
        raise UserError(
            f"the decoded images take {need / 1e9:.1f} GB in {part.parent}, {free / 1e9:.1f} GB are free: free some, name "
            f"another place with {CACHE_VARIABLE}, take a smaller --image_size, or pass --no_cache if the memory suffices"
        )
