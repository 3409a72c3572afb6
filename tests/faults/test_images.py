"""Images of another format than their name, of a false size, or too large for the memory."""

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
from miniatures import class_folders, hue, picture
from PIL import Image
from sandbox import CLASSES, ROOT

from common.data.images.cache import decode_cached
from common.spec import Preprocess

SMALL = Preprocess(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))


def png(width: int, height: int, data: bytes) -> bytes:
    """A PNG that claims a size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")
    ]  # fmt: skip
    parts = [
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def zeros(n: int) -> bytes:
    """So many zero bytes, compressed."""
    packer = zlib.compressobj(1)
    return b"".join([packer.compress(bytes(min(1 << 24, n - at))) for at in range(0, n, 1 << 24)]) + packer.flush()


def encode(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def grey_16_bit(seed: int) -> Image.Image:
    return Image.fromarray(np.asarray(picture(seed, hue=2).convert("L")).astype(np.uint16) * 257)


BLUE = picture(0, hue=2)
READ: dict[str, Callable[[], bytes]] = {
    "a PNG named .jpg": lambda: encode(BLUE, "PNG"),
    "a GIF of several pictures": lambda: encode(
        BLUE, "GIF", save_all=True, append_images=[picture(1, hue=0), picture(2, hue=1)]
    ),
    "a PNG of several pictures": lambda: encode(BLUE, "PNG", save_all=True, append_images=[picture(1, hue=0)]),
    "a WebP of several pictures": lambda: encode(
        BLUE, "WEBP", lossless=True, save_all=True, append_images=[picture(1, hue=0)]
    ),
    "CMYK": lambda: encode(BLUE.convert("CMYK"), "JPEG"),
    "16 bits of grey": lambda: encode(grey_16_bit(0), "PNG"),
    "more after its end": lambda: encode(BLUE, "JPEG") + b"PK\x03\x04" + os.urandom(1000),
}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a TIFF of floats": (lambda: encode(BLUE.convert("L").convert("F"), "TIFF"), "--value_range"),
    "a text": (lambda: b"not a picture at all\n" * 20, "cannot identify"),
    "a PNG of 60,000 x 60,000": (lambda: png(60_000, 60_000, zlib.compress(bytes(999))), "bomb"),
    "a JPEG of 65,500 x 65,500": (
        lambda: encode(BLUE, "JPEG").replace(struct.pack(">HH", 32, 40), struct.pack(">HH", 65_500, 65_500)),
        "bomb",
    ),
    "a GIF of 60,000 x 60,000": (
        lambda: encode(BLUE, "GIF").replace(struct.pack("<HH", 40, 32), struct.pack("<HH", 60_000, 60_000)),
        "bomb",
    ),
    "a PNG of less than it claims": (lambda: png(40, 32, zlib.compress(bytes(99))), "truncated"),
    "PostScript, which is a program": (
        lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(pwned) (w) file\n", "cannot identify",
    ),
    "a folder": (lambda: b"", "Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize("kind", READ)
def test_formats_that_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(READ[kind]())
    pixels, bad = decode_cached([str(path)], SMALL, None)
    assert not bad
    if "16" in kind:
        assert abs(int(pixels.mean()) - int(np.asarray(BLUE.convert("L")).mean())) <= 2
    else:
        assert hue(pixels[0]) == 2, "the first picture of several"


@pytest.mark.parametrize("kind", REFUSED)
def test_formats_that_are_refused(tmp_path: Path, kind: str) -> None:
    """By name; the other images are read."""
    make, reason = REFUSED[kind]
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        BLUE.save(path)
    paths[1].unlink()
    paths[1].mkdir() if kind == "a folder" else paths[1].write_bytes(make())
    pixels, bad = decode_cached([*map(str, paths)], SMALL, None)
    assert set(bad) == {1} and reason in bad[1] and "\n" not in bad[1]
    assert hue(pixels[0]) == hue(pixels[2]) == 2


def run_folder(folder: Path, limit: int | None = None) -> tuple[int, str, int]:
    """Exit status, error output and peak memory of a run that cannot begin because of an unreadable image."""
    command = [sys.executable, str(ROOT / "folder.py"), "--data_dir", str(folder), "--image_size", "32", "--no_cache"]
    limits = limit and partial(resource.setrlimit, resource.RLIMIT_AS, (limit, limit))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, preexec_fn=limits) as process:
        peak = 0
        while process.poll() is None:  # what the system sums up in the end begins with the memory of this process
            peak = max(peak, _peak_memory(process.pid))
            time.sleep(0.01)
        output = process.stderr.read()
    return process.returncode, output, peak


def _peak_memory(pid: int) -> int:
    """In bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * int(found[1]) if found else 0


def test_a_large_image_is_in_memory_once(tmp_path: Path) -> None:
    """9,400 x 9,400, which Pillow still takes: 353 MB, from a file of 1.2 MB."""
    class_folders(tmp_path, CLASSES, 10)
    (tmp_path / "ant" / "ant00.jpg").write_bytes(b"")
    (tmp_path / "bee" / "bee03.jpg").write_bytes(png(9_400, 9_400, zeros(9_400 * (1 + 3 * 9_400))))
    code, output, peak = run_folder(tmp_path)
    assert code == 2 and "1 of 30 images cannot be read" in output and "ant00.jpg" in output
    assert peak < 900e6
    code, output, _ = run_folder(tmp_path, limit=540_000_000)
    assert code == 2 and "no memory left to decode" in output and "bee03.jpg" in output
    assert "Traceback" not in output


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    class_folders(tmp_path, CLASSES, 10)
    victim = tmp_path / "bee" / "bee03.jpg"
    os.rename(victim, os.fsencode(victim.parent) + b"/b\xffe\n.jpg")
    code, output, _ = run_folder(tmp_path)
    assert code == 2 and "is not valid UTF-8" in output and "Traceback" not in output and output.count("\n") == 1
