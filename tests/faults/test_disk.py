"""A real disk that fills up, or may not be written: one line, nothing half, and the next start goes on."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import (
    SEED,
    World,
    at_checkpoint,
    check_refusal,
    check_sound,
    fill,
    fill_at,
    kill_me,
    tmpfs,
    undisturbed,
    world,
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", 40) as made:
        yield made


def goes_on(here: World) -> None:
    check_sound(here)
    (here.place / "ballast").unlink()
    if not here.finished():
        here.finish()
    check_sound(here)


@pytest.mark.parametrize("part", range(3))
def test_full_before_a_change_of_it(disk: Path, tmp_path: Path, part: int) -> None:
    """One of each third."""
    third = undisturbed().changes // 3
    full_at(disk, tmp_path, part * third + random.Random(f"{SEED} {part}").randint(1, third))


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 201))
def test_full_before_each_change_of_it(disk: Path, tmp_path: Path, n: int) -> None:
    full_at(disk, tmp_path, n)


def full_at(disk: Path, tmp_path: Path, n: int) -> None:
    if n > undisturbed().changes:
        pytest.skip(f"there are {undisturbed().changes} changes")
    print(f"seed {SEED}, change {n} of {undisturbed().changes}")
    with world(disk, tmp_path / "told") as here:
        process = here.again(harm=partial(fill_at, disk, n))
        if process.end():
            check_refusal(process, "free some")
        goes_on(here)


def test_full_while_downloading(disk: Path, tmp_path: Path) -> None:
    with world(disk, tmp_path / "told", midway=partial(fill, disk)) as here:
        check_refusal(here.again(), "no space left on the disk", "--data_dir")
        goes_on(here)


@pytest.mark.parametrize(
    ("place", "option"), [("data", "--data_dir"), ("cache", "CLASH_CACHE"), ("runs", "--out")]
)
def test_a_disk_that_may_only_be_read(tmp_path: Path, place: str, option: str) -> None:
    with world(tmp_path / "world", tmp_path / "told") as here, tmpfs(here.place / place, 30) as disk:
        if place != "data":
            here.unpack()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_refusal(here.again("runs/out"), "Read-only file system", option)
        assert not list(disk.iterdir()) and not (here.place / "runs" / "out").exists()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        if place == "runs":
            here.finish("runs/out")
            check_sound(here, "runs/out")


def test_going_on_where_it_may_only_be_read(tmp_path: Path) -> None:
    with world(tmp_path / "world", tmp_path / "told") as here, tmpfs(here.place / "runs", 30) as disk:
        here.unpack()
        process = here.again("runs/out", harm=partial(at_checkpoint, 4, kill_me))
        assert process.end() == -9
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_refusal(here.again("runs/out"), "Read-only file system", "--out")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        here.finish("runs/out")
        check_sound(here, "runs/out")


if os.geteuid():

    def test_all_of_this_where_users_may_be_root_of_their_own() -> None:
        """The tests above skip: they run here, in a namespace in which mounting is allowed."""
        root = ["unshare", "--map-root-user", "--mount"]
        command = [*root, sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", __file__]
        run = subprocess.run(command, capture_output=True, text=True)
        if "unshare failed" in run.stderr:
            pytest.skip(f"no disk may be mounted here: {run.stderr.strip()}")
        assert run.returncode == 0, run.stdout
