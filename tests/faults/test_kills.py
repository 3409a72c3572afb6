"""SIGKILL at random moments of a run's whole life, from the first byte of its download to its result."""

import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import World, check_sound, count, ends, kill_at, world

SEED = int(os.environ.get("CLASH_SEED", time.time_ns() % 10**6))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple, float, int]:
    """How a run ends that nobody disturbs, how long it takes, and how often it changes the disk."""
    place, told = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("told")
    with world(place, told) as here:
        process = here.again(harm=partial(count, place, told / "changes"))
        assert process.end() == 0, process.said
        begun = time.monotonic()
        here.finish("warm")
        return ends(place / "out"), time.monotonic() - begun + 0.5, int((told / "changes").read_text())


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "world").mkdir()
    with world(tmp_path / "world", tmp_path / "told") as made:
        yield made


@pytest.mark.parametrize("life", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 25))])
def test_killed_at_any_moment(here: World, undisturbed: tuple, life: int) -> None:
    whole, seconds, _ = undisturbed
    dice, kills = random.Random(f"{SEED} {life}"), 0
    for _ in range(4):
        process = here.again()
        process.process.join(dice.uniform(0, seconds))
        kills += process.process.is_alive()
        process.kill()
        check_sound(here, whole)
        if here.finished():
            break
    print(f"seed {SEED}: {kills} kills")
    if not here.finished():
        here.finish()
    check_sound(here, whole)
    assert here.finished() and not list((here.place / "out").rglob(".*.part*"))


@pytest.mark.parametrize(
    ("share", "of"), [(i, 2) for i in range(2)] + [pytest.param(i, 200, marks=pytest.mark.slow) for i in range(200)]
)  # fmt: skip
def test_killed_before_a_change_of_the_disk(here: World, undisturbed: tuple, share: int, of: int) -> None:
    """One of two at random, or each of all."""
    whole, _, changes = undisturbed
    n = random.Random(f"{SEED} {share}").randint(1, changes) if of == 2 else 1 + share
    if n > changes:
        pytest.skip(f"there are {changes} changes")
    print(f"seed {SEED}, change {n} of {changes}")
    process = here.again(harm=partial(kill_at, here.place, n))
    assert process.end() == -9, process.said
    check_sound(here, whole)
    if not here.finished():
        here.finish()
    check_sound(here, whole)
