"""SIGKILL at random moments of a run's whole life, from the first byte of its download to its result."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import SEED, World, check_sound, kill_at, undisturbed, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world", tmp_path / "told") as made:
        yield made


@pytest.mark.parametrize("life", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 25))])
def test_killed_at_any_moment(here: World, life: int) -> None:
    dice, kills = random.Random(f"{SEED} {life}"), 0
    for _ in range(4):
        process = here.again()
        process.process.join(dice.uniform(0, undisturbed().seconds))
        kills += process.process.is_alive()
        process.kill()
        check_sound(here)
        if here.finished():
            break
    print(f"seed {SEED}: {kills} kills")
    if not here.finished():
        here.finish()
    check_sound(here)
    assert here.finished() and not list((here.place / "out").rglob(".*.part*"))


@pytest.mark.parametrize("part", [0, 1])
def test_killed_before_a_change_of_the_disk(here: World, part: int) -> None:
    """One of each half."""
    half = undisturbed().changes // 2
    killed_at(here, part * half + random.Random(f"{SEED} {part}").randint(1, half))


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 201))
def test_killed_before_each_change_of_the_disk(here: World, n: int) -> None:
    killed_at(here, n)


def killed_at(here: World, n: int) -> None:
    if n > undisturbed().changes:
        pytest.skip(f"there are {undisturbed().changes} changes")
    print(f"seed {SEED}, change {n} of {undisturbed().changes}")
    process = here.again(harm=partial(kill_at, here.place, n))
    assert process.end() == -9, process.said
    check_sound(here)
    if not here.finished():
        here.finish()
    check_sound(here)
