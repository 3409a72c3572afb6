"""Images that lie: of another format than their name, of another size than they hold, large beyond memory, not there."""

import io
import os
import re
import resource
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from harm import CLASSES, ROOT
from miniatures import class_folders, hue, picture
from PIL import Image

from common.data.images.cache import decode_cached
from common.spec import Preprocess

SMALL = Preprocess(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that claims a size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    ]  # fmt: skip
    whole = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole)


def zeros(n: int) -> bytes:
    """So many zero bytes, compressed."""
    packer = zlib.compressobj(1)
    return (
        b"".join([packer.compress(bytes(min(1 << 24, n - at))) for at in range(0, n, 1 << 24)])
        + packer.flush()
    )


def written(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def sixteen(seed: int) -> Image.Image:
    return Image.fromarray(np.asarray(picture(seed, hue=2).convert("L")).astype(np.uint16) * 257)


BLUE = picture(0, hue=2)
READ: dict[str, Callable[[], bytes]] = {
    "a PNG named .jpg": lambda: written(BLUE, "PNG"),
    "a GIF of several pictures": lambda: written(
        BLUE, "GIF", save_all=True, append_images=[picture(1, hue=0), picture(2, hue=1)]
    ),
    "a PNG of several pictures": lambda: written(BLUE, "PNG", save_all=True, append_images=[picture(1, hue=0)]),
    "a WebP of several pictures": lambda: written(
        BLUE, "WEBP", lossless=True, save_all=True, append_images=[picture(1, hue=0)]
    ),
    "CMYK": lambda: written(BLUE.convert("CMYK"), "JPEG"),
    "16 bits of grey": lambda: written(sixteen(0), "PNG"),
    "more after its end": lambda: written(BLUE, "JPEG") + b"PK\x03\x04" + os.urandom(1000),
}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a TIFF of floats": (lambda: written(BLUE.convert("L").convert("F"), "TIFF"), "--value_range"),
    "a text": (lambda: b"not a picture at all\n" * 20, "cannot identify"),
    "a PNG of 60,000 x 60,000": (lambda: png(60_000, 60_000, zlib.compress(bytes(999))), "bomb"),
    "a JPEG of 65,500 x 65,500": (
        lambda: written(BLUE, "JPEG").replace(struct.pack(">HH", 32, 40), struct.pack(">HH", 65_500, 65_500)),
        "bomb",
    ),
    "a GIF of 60,000 x 60,000": (
        lambda: written(BLUE, "GIF").replace(struct.pack("<HH", 40, 32), struct.pack("<HH", 60_000, 60_000)),
        "bomb",
    ),
    "a PNG of less than it claims": (lambda: png(40, 32, zlib.compress(bytes(99))), "truncated"),
    "PostScript, which is a program": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(pwned) (w) file\n", "cannot identify",
    ),
    "a folder": (lambda: b"", "Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize("what", READ)
def test_read_as_what_it_is(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(READ[what]())
    pixels, bad = decode_cached([str(path)], SMALL, None)
    assert not bad
    if "16" in what:
        assert abs(int(pixels.mean()) - int(np.asarray(BLUE.convert("L")).mean())) <= 2
    else:
        assert hue(pixels[0]) == 2, "the first picture of several"


@pytest.mark.parametrize("what", REFUSED)
def test_refused_in_one_line(tmp_path: Path, what: str) -> None:
    """By name, among good ones; and the good ones are read."""
    make, why = REFUSED[what]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        BLUE.save(path)
    paths[1].unlink()
    paths[1].mkdir() if what == "a folder" else paths[1].write_bytes(make())
    pixels, bad = decode_cached([*map(str, paths)], SMALL, None)
    assert set(bad) == {1} and why in bad[1] and "\n" not in bad[1]
    assert hue(pixels[0]) == hue(pixels[2]) == 2


def look_at(folder: Path, limit: int | None = None) -> tuple[int, str, int]:
    """Exit status, complaint and largest memory of a run that cannot begin, because a second image is none."""
    command = [
        sys.executable,
        str(ROOT / "folder.py"),
        "--data_dir",
        str(folder),
        "--image_size",
        "32",
        "--no_cache",
    ]
    limits = limit and partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=limits) as process:
        used = 0
        while (
            process.poll() is None
        ):  # what the system sums up in the end begins with the memory of this process
            used = max(used, _most(process.pid))
            time.sleep(0.01)
        said = process.stderr.read()
    return process.returncode, said, used


def _most(process: int) -> int:
    """Bytes that it has had in memory at most."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def test_a_large_picture_is_in_memory_once(tmp_path: Path) -> None:
    """9,400 x 9,400, which Pillow still takes: 353 MB, from a file of 1.2 MB."""
    class_folders(tmp_path, CLASSES, 10)
    (tmp_path / "ant" / "ant00.jpg").write_bytes(b"")
    (tmp_path / "bee" / "bee03.jpg").write_bytes(png(9_400, 9_400, zeros(9_400 * (1 + 3 * 9_400))))
    code, said, used = look_at(tmp_path)
    assert code == 2 and "1 of 30 images cannot be read" in said and "ant00.jpg" in said
    assert used < 900e6
    code, said, _ = look_at(tmp_path, limit=420_000_000)
    assert code == 2 and "no memory left to decode" in said and "bee03.jpg" in said
    assert "Traceback" not in said


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    class_folders(tmp_path, CLASSES, 10)
    victim = tmp_path / "bee" / "bee03.jpg"
    os.rename(victim, os.fsencode(victim.parent) + b"/b\xffe\n.jpg")
    code, said, _ = look_at(tmp_path)
    assert code == 2 and "is not valid UTF-8" in said and "Traceback" not in said and said.count("\n") == 1
