"""A clock that goes backwards, and files of the future."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import World, at_checkpoint, check_sound, kill_me, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world", tmp_path / "told") as made:
        made.unpack()
        yield made


def backwards() -> None:
    """Every time that is asked for is earlier than the one before, by an hour."""
    begun, asked = time.time(), 0

    def now() -> float:
        nonlocal asked
        asked += 1
        return begun - 3600 * asked

    time.time = now


def test_a_clock_that_goes_backwards(here: World) -> None:
    for path in (here.place / "data").rglob("*"):
        os.utime(path, (4e9, 4e9))  # the year 2096
    assert here.again(harm=partial(backwards_and_killed, 4)).end() == -9
    check_sound(here)
    for path in (here.place / "out").rglob("*"):
        os.utime(path, (4e9, 4e9))
    for path in (here.place / "data").rglob("*"):
        os.utime(path, (1e9, 1e9))
    process = here.again(harm=backwards)
    assert process.end() == 0, process.said
    check_sound(here)
    assert len(list(here.cache.glob("*/pixels.npy"))) == 1, "decoded once"


def backwards_and_killed(step: int) -> None:
    backwards()
    at_checkpoint(step, kill_me)
