"""The same command twice at once: one wins, the other says so, nothing breaks."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from harm import TINY, World, check_refusal, check_sound, wait_for, world


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path / "world", tmp_path / "told") as made:
        made.unpack()
        yield made


def test_the_same_command_twice_at_once(here: World) -> None:
    both = [here.again(), here.start(*TINY, "--data_dir", "data/toy", "--download", "--out", "out")]
    codes = [process.end() for process in both]
    assert sorted(codes) == [0, 2], [process.said for process in both]
    check_refusal(both[codes.index(2)], "out", "exists already")
    check_sound(here)
    assert here.finished()


def test_going_on_twice_at_once(here: World) -> None:
    here.killed(4)
    both = [here.again(), here.again()]
    codes = [process.end() for process in both]
    assert sorted(codes) == [0, 2], [process.said for process in both]
    said = check_refusal(both[codes.index(2)], "out")
    assert "another process is working in out" in said or "is finished" in said
    check_sound(here)
    assert here.finished()


def test_going_on_with_what_another_has_finished_meanwhile(here: World) -> None:
    """Both found it unfinished; the second is slow, and comes when the first is through."""
    here.killed(4)
    go = here.told / "slow"
    slow = here.again(harm=partial(before_the_folder, go))
    here.wait(slow, go)
    here.finish()
    go.unlink()
    check_refusal(slow, "finished")
    check_sound(here)


def test_going_on_while_another_writes_its_result(here: World) -> None:
    go = here.told / "writing"
    first = here.again(harm=partial(before_the_result, go))
    here.wait(first, go)
    check_refusal(here.again(), "another process is working in out")
    go.unlink()
    assert first.end() == 0, first.said
    check_sound(here)


def before_the_result(go: Path) -> None:
    """Wait when the training is through, and nothing told of it."""
    from common.run import artifacts

    plain = artifacts.write

    def keep(*given: object, **how: object) -> None:
        wait_for(go)
        plain(*given, **how)

    artifacts.write = keep


def before_the_folder(go: Path) -> None:
    """Wait when the checkpoint is loaded, and the folder not yet claimed."""
    from common.training import checkpoint

    plain = checkpoint.load

    def load(*given: object, **how: object) -> object:
        found = plain(*given, **how)
        wait_for(go)
        return found

    checkpoint.load = load
