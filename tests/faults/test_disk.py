"""A real disk that is full or read-only: one line of error, nothing incomplete, and the next start continues."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import (
    SEED,
    Sandbox,
    at_checkpoint,
    check_intact,
    check_refusal,
    fill,
    fill_at_change,
    kill_process,
    open_sandbox,
    reference,
    tmpfs,
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", 40) as mounted:
        yield mounted


def check_continues(sandbox: Sandbox) -> None:
    check_intact(sandbox)
    (sandbox.root / "ballast").unlink()
    if not sandbox.finished():
        sandbox.finish()
    check_intact(sandbox)


@pytest.mark.parametrize("part", range(3))
def test_full_before_a_change(disk: Path, tmp_path: Path, part: int) -> None:
    """One in each third of a run."""
    third = reference().changes // 3
    fill_and_continue(disk, tmp_path, part * third + random.Random(f"{SEED} {part}").randint(1, third))


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 221))
def test_full_before_each_change(disk: Path, tmp_path: Path, n: int) -> None:
    fill_and_continue(disk, tmp_path, n)


def fill_and_continue(disk: Path, tmp_path: Path, n: int) -> None:
    if n > reference().changes:
        pytest.skip(f"only {reference().changes} changes")
    print(f"seed {SEED}, change {n} of {reference().changes}")
    with open_sandbox(disk, tmp_path / "logs") as sandbox:
        process = sandbox.run(fault=partial(fill_at_change, disk, n))
        if process.end():
            check_refusal(process, "free some")
        check_continues(sandbox)


def test_full_while_downloading(disk: Path, tmp_path: Path) -> None:
    with open_sandbox(disk, tmp_path / "logs", halfway=partial(fill, disk)) as sandbox:
        check_refusal(sandbox.run(), "no space left on the disk", "--data_dir")
        check_continues(sandbox)


@pytest.mark.parametrize(("folder", "option"), [("data", "--data_dir"), ("cache", "CLASH_CACHE"), ("runs", "--out")])
def test_a_read_only_disk(tmp_path: Path, folder: str, option: str) -> None:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as sandbox, tmpfs(sandbox.root / folder, 30) as disk:
        if folder != "data":
            sandbox.unpack()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_refusal(sandbox.run("runs/out"), "Read-only file system", option)
        assert not list(disk.iterdir()) and not (sandbox.root / "runs" / "out").exists()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        if folder == "runs":
            sandbox.finish("runs/out")
            check_intact(sandbox, "runs/out")


def test_resuming_on_a_read_only_disk(tmp_path: Path) -> None:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as sandbox, tmpfs(sandbox.root / "runs", 30) as disk:
        sandbox.unpack()
        process = sandbox.run("runs/out", fault=partial(at_checkpoint, 4, kill_process))
        assert process.end() == -9
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_refusal(sandbox.run("runs/out"), "Read-only file system", "--out")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        sandbox.finish("runs/out")
        check_intact(sandbox, "runs/out")


if os.geteuid():

    def test_all_of_these_in_a_user_namespace() -> None:
        """The tests above are skipped: run them where mounting is allowed."""
        root = ["unshare", "--map-root-user", "--mount"]
        command = [*root, sys.executable, "-m", "pytest", "-n0", "-p", "no:cacheprovider", __file__]
        run = subprocess.run(command, capture_output=True, text=True)
        if "unshare failed" in run.stderr:
            pytest.skip(f"cannot mount a disk: {run.stderr.strip()}")
        assert run.returncode == 0, run.stdout
