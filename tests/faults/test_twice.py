"""The same command twice at once: one wins, the other is refused, nothing breaks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import TINY, Sandbox, check_intact, check_refusal, open_sandbox, wait_at


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as box:
        box.unpack()
        yield box


def test_the_same_command_twice_at_once(sandbox: Sandbox) -> None:
    both = [sandbox.run(), sandbox.start(*TINY, "--data_dir", "data/toy", "--download", "--out", "out")]
    codes = [process.end() for process in both]
    assert sorted(codes) == [0, 2], [process.output for process in both]
    check_refusal(both[codes.index(2)], "out", "exists already")
    check_intact(sandbox)
    assert sandbox.finished()


def test_resumed_twice_at_once(sandbox: Sandbox) -> None:
    sandbox.killed_at(4)
    both = [sandbox.run(), sandbox.run()]
    codes = [process.end() for process in both]
    assert sorted(codes) == [0, 2], [process.output for process in both]
    output = check_refusal(both[codes.index(2)], "out")
    assert "another process is using out" in output or "is finished" in output
    check_intact(sandbox)
    assert sandbox.finished()


def test_resuming_a_run_that_has_just_finished(sandbox: Sandbox) -> None:
    """Both find the run unfinished; the slow one continues when the other has finished it."""
    sandbox.killed_at(4)
    gate = sandbox.logs / "slow"
    slow = sandbox.run(fault=partial(before_the_lock, gate))
    sandbox.wait_until_paused(slow, gate)
    sandbox.finish()
    gate.unlink()
    check_refusal(slow, "finished")
    check_intact(sandbox)


def test_resuming_while_another_writes_its_result(sandbox: Sandbox) -> None:
    gate = sandbox.logs / "writing"
    first = sandbox.run(fault=partial(before_the_result, gate))
    sandbox.wait_until_paused(first, gate)
    check_refusal(sandbox.run(), "another process is using out")
    gate.unlink()
    assert first.end() == 0, first.output
    check_intact(sandbox)


def before_the_result(gate: Path) -> None:
    """Wait after the training, before anything is written."""
    from common.run import artifacts

    original = artifacts.write

    def write(*args: object, **kwargs: object) -> None:
        wait_at(gate)
        original(*args, **kwargs)

    artifacts.write = write


def before_the_lock(gate: Path) -> None:
    """Wait after the checkpoint is loaded, before the folder is locked."""
    from common.training import checkpoint

    original = checkpoint.load

    def load(*args: object, **kwargs: object) -> object:
        found = original(*args, **kwargs)
        wait_at(gate)
        return found

    checkpoint.load = load
