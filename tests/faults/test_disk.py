"""A real disk that fills up, or may not be written: one line, nothing half, and the next start goes on."""

import os
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import World, check_refusal, check_sound, count, ends, fill, fill_at, tmpfs, world

SEED = int(os.environ.get("CLASH_SEED", time.time_ns() % 10**6))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple, int]:
    """How a run ends that nobody disturbs, and how often it changes the disk."""
    place, told = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("told")
    with world(place, told) as here:
        process = here.again(harm=partial(count, place, told / "changes"))
        assert process.end() == 0, process.said
        return ends(place / "out"), int((told / "changes").read_text())


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", 40) as made:
        yield made


def goes_on(here: World, whole: tuple) -> None:
    check_sound(here, whole)
    (here.place / "ballast").unlink()
    if not here.finished():
        here.finish()
    check_sound(here, whole)


@pytest.mark.parametrize(
    ("share", "of"), [(i, 4) for i in range(4)] + [pytest.param(i, 200, marks=pytest.mark.slow) for i in range(200)]
)  # fmt: skip
def test_full_before_a_change_of_it(
    disk: Path, tmp_path: Path, undisturbed: tuple, share: int, of: int
) -> None:
    """One of each quarter of a run at random, or each of all."""
    whole, changes = undisturbed
    quarter = changes // 4
    n = random.Random(f"{SEED} {share}").randint(1, quarter) + share * quarter if of == 4 else 1 + share
    if n > changes:
        pytest.skip(f"there are {changes} changes")
    print(f"seed {SEED}, change {n} of {changes}")
    with world(disk, tmp_path / "told") as here:
        process = here.again(harm=partial(fill_at, disk, n))
        if process.end():
            check_refusal(process, "free some")
        goes_on(here, whole)


def test_full_while_downloading(disk: Path, tmp_path: Path, undisturbed: tuple) -> None:
    with world(disk, tmp_path / "told", midway=partial(fill, disk)) as here:
        check_refusal(here.again(), "no space left on the disk", "--data_dir")
        goes_on(here, undisturbed[0])
