"""Decode once, ever: the pixels of all images in one file on the disk, found again by what the images hold.

<cache>/<content>/pixels.npy     (N, H, W, 3) uint8, read through a memory map that all processes share
<cache>/<content>/about.json     which images cannot be read, and why. Written last, before the folder gets its name
<cache>/<content>.part/          not whole yet: taken up where it was left
<cache>/seen/<signature>         the content of files of these names, sizes and times: spares reading them again
<cache>/.<content>.lock          one process at a time; the system lets go of it when a process dies

<content> is a SHA-256 of the images' bytes, in their order, and of all that decides their pixels. Nothing in the cache is
needed: whoever wants the room back deletes it.
"""

import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..atomic import alone, whole
from ..errors import UserError, disk_errors
from ..spec import Preprocess
from .decode import FORMATS, decode, decode_each, fit, open_image, stored_size

if TYPE_CHECKING:
    import numpy as np

FORM = 1  # of these folders and of the rules in decode.py: one more where pixels would come out otherwise
ROOM = "CLASH_CACHE"  # names another place
UNREADABLE = "unreadable"
CHECKED = 4  # images that are decoded again whenever a cache is opened


def place() -> Path:
    """$CLASH_CACHE, or `clash-of-backbones` where the system keeps its caches."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(ROOM) or home / "clash-of-backbones")


def cached(
    images: "Sequence[str] | Sequence[np.ndarray]", preprocess: Preprocess, native: tuple[int, int] | None
) -> tuple["np.ndarray", dict[int, str]]:
    """What `decode.decode` returns, from the disk; decoded now if it is not there.

    Raises:
        UserError: the disk is too small, or cannot be written to.
    """
    import numpy as np

    if isinstance(images, np.ndarray):  # in memory as it is
        return decode(images, preprocess, native)
    size = stored_size(preprocess, native)
    room = place()
    with disk_errors(room, ROOM):
        (room / "seen").mkdir(parents=True, exist_ok=True)
        folder = room / _content(images, size, preprocess, room)
        if not folder.is_dir() or not _agrees(folder, images, size, preprocess):
            with alone(folder, "decoding into"):
                if not folder.is_dir():  # another process may have made it meanwhile
                    _build(folder, images, size, preprocess)
    about = json.loads((folder / "about.json").read_text("utf-8"))
    pixels = np.asarray(np.load(folder / "pixels.npy", mmap_mode="r"))
    return pixels, {int(i): why for i, why in about["bad"].items()}


def _content(images: Sequence, size: tuple[int, int], preprocess: Preprocess, room: Path) -> str:
    """The name of the cache: 32 hex digits.

    The files are read for it only if their names, sizes and times have not been seen before.
    """
    import PIL

    files = images if isinstance(images, list) else [images.path]  # a container of images is one file
    seen = room / "seen" / _digest("\n".join(map(_state, files)))
    if seen.exists():
        content = seen.read_text()
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            read = pool.map(_file_digest, files)
            digests = list(tqdm(read, "read", len(files), unit="file", leave=False, disable=None))
        content = _digest("\n".join(digests))
        if UNREADABLE not in digests:  # it may be readable next time
            with whole(seen) as part:
                part.write_text(content)
    rule = (FORM, size, preprocess.crop, preprocess.interpolation, PIL.__version__, FORMATS)
    return _digest(f"{content}\n{len(images)}\n{rule}")


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


def _agrees(folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess) -> bool:
    """Whether a few images, decoded again, are what the cache holds; one that is not goes away."""
    import numpy as np

    try:
        bad = json.loads((folder / "about.json").read_text("utf-8"))["bad"]
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        some = [
            i
            for i in random.Random().sample(range(len(images)), min(CHECKED, len(images)))
            if str(i) not in bad
        ]
        if all(np.array_equal(pixels[i], fit(open_image(images[i]), size, preprocess)) for i in some):
            return True
    except (OSError, EOFError, ValueError, KeyError):  # cut short, or not ours
        pass
    print(f"{folder} does not hold what the images hold: decoding them again", file=sys.stderr)
    shutil.rmtree(folder)
    return False


def _build(folder: Path, images: Sequence, size: tuple[int, int], preprocess: Preprocess) -> None:
    """Decode what an earlier attempt has not; the folder gets its name when all is there."""
    import numpy as np

    part = folder.with_name(f"{folder.name}.part")
    part.mkdir(exist_ok=True)
    image_bytes = size[0] * size[1] * 3
    with _opened(part / "pixels.npy") as pixels, _opened(part / "done") as done:
        _check_room(part, len(images) * image_bytes)
        form = {"descr": "|u1", "fortran_order": False, "shape": (len(images), *size, 3)}
        np.lib.format.write_array_header_1_0(pixels, form)
        start = pixels.tell()
        there = done.read()

        def put(
            i: int, image: "np.ndarray"
        ) -> None:  # written, not mapped: a full disk is an error, not a crash
            os.pwrite(pixels.fileno(), image.tobytes(), start + i * image_bytes)
            os.pwrite(done.fileno(), b"1", i)

        pixels.flush()
        pixels.truncate(start + len(images) * image_bytes)  # images that cannot be read stay black
        missing = [i for i in range(len(images)) if there[i : i + 1] != b"1"]
        bad = decode_each(images, size, preprocess, missing, put)
        os.fsync(pixels.fileno())
    (part / "about.json").write_text(json.dumps({"bad": bad}), "utf-8")
    os.replace(part, folder)


def _opened(path: Path):
    return open(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b")


def _check_room(part: Path, need: int) -> None:
    """Raises: UserError: less room on the disk than the pixels still take."""
    here = sum(os.stat(entry).st_blocks * 512 for entry in os.scandir(part))
    free = shutil.disk_usage(part).free
    if free < need - here:
        raise UserError(
            f"the decoded images take {need / 1e9:.1f} GB in {part.parent}, {free / 1e9:.1f} GB are free: free some, name "
            f"another place with {ROOM}, take a smaller --image_size, or pass --no_cache if the memory suffices"
        )
