"""Files that are removed or truncated during a run."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import Sandbox, artifacts, check_intact, check_refusal, open_sandbox, reference


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as box:
        box.unpack()
        yield box


def truncate(pixels: Path) -> None:
    os.truncate(pixels, 200)


def remove(pixels: Path) -> None:
    pixels.unlink()


@pytest.mark.parametrize("fault", [truncate, pytest.param(remove, marks=pytest.mark.slow)])
def test_the_cache_while_training(sandbox: Sandbox, fault: Callable) -> None:
    """A truncated memory map ends the run with one line; a removed one stays valid."""
    process, gate = sandbox.paused_at(2)
    (pixels,) = sandbox.cache.glob("*/pixels.npy")
    fault(pixels)
    gate.unlink()
    if fault is truncate:
        check_refusal(process, "pixels.npy", "cut short while it was in use", "--resume")
    else:
        assert process.end() == 0, process.output
    if not sandbox.finished():
        sandbox.finish()
    assert artifacts(sandbox.root / "out") == reference().artifacts
    sandbox.finish("another")
    check_intact(sandbox, "another")


def test_checkpoints_while_training(sandbox: Sandbox) -> None:
    process, gate = sandbox.paused_at(4)
    shutil.rmtree(sandbox.root / "out" / "checkpoints")
    gate.unlink()
    check_refusal(process, "out/checkpoints is gone")
    sandbox.finish()
    check_intact(sandbox)


@pytest.mark.parametrize("name", ["best.pt", pytest.param("last.pt", marks=pytest.mark.slow)])
def test_a_checkpoint_between_two_starts(sandbox: Sandbox, name: str) -> None:
    out = sandbox.killed_at(6)
    (out / "checkpoints" / name).unlink()
    if name == "best.pt":
        check_refusal(sandbox.run(), "cannot resume from out/checkpoints/last.pt", "to start over")
        (out / "checkpoints" / "last.pt").unlink()
    sandbox.finish()
    check_intact(sandbox)
    assert sandbox.finished()


def test_the_run_folder_while_training(sandbox: Sandbox) -> None:
    process, gate = sandbox.paused_at(4)
    (sandbox.root / "out").rename(sandbox.root / "away")
    gate.unlink()
    check_refusal(process, "is gone")
    (sandbox.root / "away").rename(sandbox.root / "out")
    sandbox.finish()
    check_intact(sandbox)


def test_an_image_between_listing_and_decoding(sandbox: Sandbox) -> None:
    image = sandbox.root / "data" / "toy" / "bee" / "bee05.jpg"
    content = image.read_bytes()
    output = check_refusal(sandbox.run(fault=partial(remove_before_decoding, image)))
    assert "1 of 36 images cannot be read" in output and "bee05.jpg" in output
    assert not (sandbox.root / "out").exists()
    image.write_bytes(content)
    sandbox.finish()
    check_intact(sandbox)


def remove_before_decoding(image: Path) -> None:
    """Remove it when the cache starts to be built."""
    from common.data.images import cache

    original = cache.decode_each

    def decode_each(*args: object) -> object:
        image.unlink(missing_ok=True)
        return original(*args)

    cache.decode_each = decode_each
