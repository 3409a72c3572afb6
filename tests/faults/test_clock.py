"""A clock that runs backwards, and files from the future."""

import os
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import Sandbox, at_checkpoint, check_intact, kill_process, open_sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as box:
        box.unpack()
        yield box


def turn_clock_back() -> None:
    """Make every reading of the clock an hour earlier than the one before."""
    start, readings = time.time(), 0

    def now() -> float:
        nonlocal readings
        readings += 1
        return start - 3600 * readings

    time.time = now


def test_a_clock_that_runs_backwards(sandbox: Sandbox) -> None:
    for path in (sandbox.root / "data").rglob("*"):
        os.utime(path, (4e9, 4e9))  # the year 2096
    assert sandbox.run(fault=partial(turn_clock_back_and_kill, 4)).end() == -9
    check_intact(sandbox)
    for path in (sandbox.root / "out").rglob("*"):
        os.utime(path, (4e9, 4e9))
    for path in (sandbox.root / "data").rglob("*"):
        os.utime(path, (1e9, 1e9))
    process = sandbox.run(fault=turn_clock_back)
    assert process.end() == 0, process.output
    check_intact(sandbox)
    assert len(list(sandbox.cache.glob("*/pixels.npy"))) == 1, "decoded once"


def turn_clock_back_and_kill(step: int) -> None:
    turn_clock_back()
    at_checkpoint(step, kill_process)
