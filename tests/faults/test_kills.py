"""SIGKILL at random times of a run, from the first byte of its download to its result."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from sandbox import SEED, Sandbox, check_intact, kill_at_change, open_sandbox, reference


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with open_sandbox(tmp_path / "root", tmp_path / "logs") as box:
        yield box


@pytest.mark.parametrize("attempt", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in range(1, 25))])
def test_killed_at_a_random_time(sandbox: Sandbox, attempt: int) -> None:
    rng, kills = random.Random(f"{SEED} {attempt}"), 0
    for _ in range(4):
        process = sandbox.run()
        process.process.join(rng.uniform(0, reference().seconds))
        kills += process.process.is_alive()
        process.kill()
        check_intact(sandbox)
        if sandbox.finished():
            break
    print(f"seed {SEED}: {kills} kills")
    if not sandbox.finished():
        sandbox.finish()
    check_intact(sandbox)
    assert sandbox.finished() and not list((sandbox.root / "out").rglob(".*.part*"))


@pytest.mark.parametrize("part", [0, 1])
def test_killed_before_a_change_of_the_disk(sandbox: Sandbox, part: int) -> None:
    """One in each half of a run."""
    half = reference().changes // 2
    kill_and_continue(sandbox, part * half + random.Random(f"{SEED} {part}").randint(1, half))


@pytest.mark.slow
@pytest.mark.parametrize("n", range(1, 221))
def test_killed_before_each_change_of_the_disk(sandbox: Sandbox, n: int) -> None:
    kill_and_continue(sandbox, n)


def kill_and_continue(sandbox: Sandbox, n: int) -> None:
    if n > reference().changes:
        pytest.skip(f"only {reference().changes} changes")
    print(f"seed {SEED}, change {n} of {reference().changes}")
    process = sandbox.run(fault=partial(kill_at_change, sandbox.root, n))
    assert process.end() == -9, process.output
    check_intact(sandbox)
    if not sandbox.finished():
        sandbox.finish()
    check_intact(sandbox)
