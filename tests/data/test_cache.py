"""The cache gives the pixels of decoding, decoded once, whatever happens in between."""

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from miniatures import picture

from common.data.images import cache
from common.data.images import decode as decode_module
from common.data.images.cache import decode_cached
from common.data.images.decode import decode, decode_each
from common.data.images.open import open_image
from common.errors import UserError
from common.spec import Preprocess

SMALL = Preprocess(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))
N = 30


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Thirty pictures, the third of them broken."""
    (tmp_path / "images").mkdir()
    paths = [tmp_path / "images" / f"{i}.jpg" for i in range(N)]
    for i, path in enumerate(paths):
        picture(i, hue=i % 6).save(path)
    paths[2].write_bytes(b"no picture")
    return list(map(str, paths))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions decoded for the cache during the test."""
    seen: list[int] = []

    def spy(images, size, preprocess, positions, write):
        seen.extend(positions)
        return decode_each(images, size, preprocess, positions, write)

    monkeypatch.setattr(cache, "decode_each", spy)
    return seen


def folders() -> list[str]:
    return sorted(entry.name for entry in cache.cache_dir().iterdir() if entry.name[0] != "." and entry.name != "seen")


def test_the_same_pixels_decoded_once(images: list[str], decoded: list[int]) -> None:
    plain, broken = decode(images, SMALL, None)
    for _ in range(2):
        pixels, bad = decode_cached(images, SMALL, None)
        assert np.array_equal(pixels, plain) and bad == broken and set(bad) == {2}
        assert not pixels.flags.writeable
    assert decoded == [*range(N), 2] and len(folders()) == 1  # the broken one is tried again


def test_files_that_were_only_copied_are_not_decoded_again(
    images: list[str], decoded: list[int], tmp_path: Path
) -> None:
    decode_cached(images, SMALL, None)
    copies = [shutil.copy(image, str(tmp_path / f"copy{i}.jpg")) for i, image in enumerate(images)]
    decode_cached(copies, SMALL, None)
    assert decoded == [*range(N), 2]


def test_another_content_order_or_size_is_another_cache(images: list[str], decoded: list[int]) -> None:
    first, _ = decode_cached(images, SMALL, None)
    picture(99).save(images[5])
    second, _ = decode_cached(images, SMALL, None)
    assert not np.array_equal(first[5], second[5]) and np.array_equal(first[6], second[6])
    third, _ = decode_cached(images[::-1], SMALL, None)
    assert np.array_equal(second[::-1], third)
    decode_cached(images, Preprocess(**{**vars(SMALL), "size": (8, 8)}), None)
    decode_cached(images, SMALL, (8, 8))
    decode_cached(images, Preprocess(**{**vars(SMALL), "interpolation": "bicubic"}), None)
    # at 8 x 8, native or not, the pixels are the same: only the broken one is tried again
    assert len(folders()) == 5 and len(decoded) == 5 * N + 1


def test_a_file_that_comes_back_is_read(images: list[str], decoded: list[int], tmp_path: Path) -> None:
    away = shutil.move(images[3], tmp_path / "away.jpg")
    _, bad = decode_cached(images, SMALL, None)
    assert set(bad) == {2, 3} and "No such file" in bad[3]
    shutil.move(away, images[3])
    _, bad = decode_cached(images, SMALL, None)
    assert set(bad) == {2} and not list(cache.cache_dir().glob("seen/.*"))


def test_unreadable_images_are_tried_again(
    images: list[str], decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cause may have been the machine: too many open files, a missing decoder."""

    def fail(image: str, preprocess: Preprocess) -> object:
        if image == images[4]:
            raise OSError(errno.EMFILE, "Too many open files")
        return open_image(image, preprocess)

    monkeypatch.setattr(decode_module, "open_image", fail)
    assert set(decode_cached(images, SMALL, None)[1]) == {2, 4}
    monkeypatch.undo()
    monkeypatch.setattr(cache, "decode_each", decode_each)
    pixels, bad = decode_cached(images, SMALL, None)
    assert set(bad) == {2} and np.array_equal(pixels, decode(images, SMALL, None)[0])


def test_a_missing_decoder_is_not_a_broken_image(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(image: str, preprocess: Preprocess) -> object:
        raise ImportError("no decoder")

    monkeypatch.setattr(decode_module, "open_image", missing)
    with pytest.raises(ImportError):
        decode_cached(images, SMALL, None)


def test_arrays_in_memory_are_not_copied(decoded: list[int]) -> None:
    array = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), np.uint8)
    assert decode_cached(array, SMALL, (16, 16))[0] is array
    assert not cache.cache_dir().exists() or not folders()


def test_the_work_of_a_killed_process_is_continued(
    images: list[str], decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import itertools, time; from common.data.images import cache; from common.spec import Preprocess\n"
        "plain, count = cache.decode_each, itertools.count(1)\n"
        "def hang(images, size, preprocess, positions, write):\n"
        "    def write_five(i, pixels):\n"
        "        if next(count) > 5: time.sleep(60)\n"
        "        write(i, pixels)\n"
        "    return plain(images, size, preprocess, positions, write_five)\n"
        "cache.decode_each = hang\n"
        f"cache.decode_cached({images!r}, Preprocess(**{vars(SMALL)!r}), None)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
    while not (parts := list(cache.cache_dir().glob("*.part/done"))) or parts[0].read_bytes().count(b"1") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert folders()[0].endswith(".part")
    pixels, _ = decode_cached(images, SMALL, None)
    assert np.array_equal(pixels, decode(images, SMALL, None)[0])
    assert 2 in decoded and len(decoded) <= N - 5 and not folders()[0].endswith(".part")


def test_two_processes_decode_once(images: list[str]) -> None:
    script = (
        "from common.data.images import cache; from common.spec import Preprocess\n"
        "plain = cache.decode_each\n"
        "def spy(*args):\n"
        "    if len(list(args[3])) > 1: print('decoding', flush=True); import time; time.sleep(1)\n"
        "    return plain(*args)\n"
        "cache.decode_each = spy\n"
        f"print(cache.decode_cached({images!r}, Preprocess(**{vars(SMALL)!r}), None)[0].sum())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate()[0].split() for process in both]
    assert sorted(map(len, outputs)) == [1, 2] and outputs[0][-1] == outputs[1][-1]


def test_a_damaged_entry_is_decoded_again(images: list[str], decoded: list[int], capsys: pytest.CaptureFixture) -> None:
    pixels, _ = decode_cached(images, SMALL, None)
    expected = pixels.copy()
    (file,) = cache.cache_dir().glob("*/pixels.npy")
    for content in (bytes(file.stat().st_size), file.read_bytes()[:100], b""):
        file.write_bytes(content)
        again, _ = decode_cached(images, SMALL, None)
        assert np.array_equal(again, expected)
        assert "does not match the images" in capsys.readouterr().err
    assert len(decoded) == 4 * N


def test_a_disk_that_is_too_small_is_found_before_decoding(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**6, 10**6, 20_000))
    with pytest.raises(UserError, match=r"take 0.0 GB in .* set CLASH_CACHE to another folder"):
        decode_cached(images, SMALL, None)


def test_a_disk_that_fills_up_is_one_line(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, content, at: write(file, content[: len(content) // 2], at))
    with pytest.raises(UserError, match=r"no space left .* CLASH_CACHE"):
        decode_cached(images, SMALL, None)
    monkeypatch.undo()
    assert np.array_equal(decode_cached(images, SMALL, None)[0], decode(images, SMALL, None)[0])


def test_a_cache_that_is_not_writable_is_one_line(images: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASH_CACHE", images[0])
    with pytest.raises(UserError, match=r"cannot write to .*CLASH_CACHE"):
        decode_cached(images, SMALL, None)


def test_too_little_memory_is_one_line(images: list[str]) -> None:
    huge = Preprocess(**{**vars(SMALL), "size": (10**6, 10**6)})
    with pytest.raises(UserError, match=r"GB of memory, more than is free"):
        decode(images, huge, None)


def test_a_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    """With almost the same pixels: the decoder averages, as resampling does."""
    picture(1, (1200, 900)).save(tmp_path / "a.jpg", quality=95)
    picture(1, (1200, 900)).save(tmp_path / "a.png")
    (jpeg, png), _ = decode([str(tmp_path / "a.jpg"), str(tmp_path / "a.png")], SMALL, None)
    assert np.abs(jpeg.astype(int) - png).mean() < 3
