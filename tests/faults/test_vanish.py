"""Files that vanish or shrink while a run is at work."""

import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import World, check_refusal, check_sound, ends, undisturbed, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world", tmp_path / "told") as made:
        made.unpack()
        yield made


def shorten(pixels: Path) -> None:
    os.truncate(pixels, 200)


def remove(pixels: Path) -> None:
    pixels.unlink()


@pytest.mark.parametrize("harm", [shorten, pytest.param(remove, marks=pytest.mark.slow)])
def test_the_cache_while_training(here: World, harm: Callable) -> None:
    """A mapped file that is cut short ends the process by SIGBUS; one that is only removed stays until the end."""
    process, go = here.held(2)
    (pixels,) = here.cache.glob("*/pixels.npy")
    harm(pixels)
    go.unlink()
    assert process.end() == (-7 if harm is shorten else 0), process.said
    if not here.finished():
        here.finish()
    assert ends(here.place / "out") == undisturbed().ends
    here.finish("another")
    check_sound(here, "another")


def test_checkpoints_while_training(here: World) -> None:
    process, go = here.held(4)
    shutil.rmtree(here.place / "out" / "checkpoints")
    go.unlink()
    check_refusal(process, "out/checkpoints is gone")
    here.finish()
    check_sound(here)


@pytest.mark.parametrize("name", ["best.pt", pytest.param("last.pt", marks=pytest.mark.slow)])
def test_a_checkpoint_between_two_starts(here: World, name: str) -> None:
    out = here.killed(6)
    (out / "checkpoints" / name).unlink()
    if name == "best.pt":
        check_refusal(here.again(), "cannot resume from out/checkpoints/last.pt", "to start over")
        (out / "checkpoints" / "last.pt").unlink()
    here.finish()
    check_sound(here)
    assert here.finished()


def test_the_run_folder_while_training(here: World) -> None:
    process, go = here.held(4)
    (here.place / "out").rename(here.place / "away")
    go.unlink()
    check_refusal(process, "is gone")
    (here.place / "away").rename(here.place / "out")
    here.finish()
    check_sound(here)


def test_an_image_between_listing_and_decoding(here: World) -> None:
    image = here.place / "data" / "toy" / "bee" / "bee05.jpg"
    content = image.read_bytes()
    said = check_refusal(here.again(harm=partial(vanishing, image)))
    assert "1 of 36 images cannot be read" in said and "bee05.jpg" in said
    assert not (here.place / "out").exists()
    image.write_bytes(content)
    here.finish()
    check_sound(here)


def vanishing(image: Path) -> None:
    """It goes when the cache begins to be built."""
    from common.data.images import cache

    plain = cache.decode_each

    def late(*given: object) -> object:
        image.unlink(missing_ok=True)
        return plain(*given)

    cache.decode_each = late
