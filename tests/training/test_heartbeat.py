"""The heartbeat of a run, from which `status` estimates the time left."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.training import heartbeat
from common.training.checkpoint import Progress


def test_it_counts_the_seconds_of_all_sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints between evaluations, and evaluations without a checkpoint, change nothing about them."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(heartbeat, "time", SimpleNamespace(monotonic=lambda: clock.now))
    write = heartbeat.progress_writer(tmp_path, steps=100, seconds=50.0)

    def seconds(progress: Progress) -> float:
        clock.now += 10
        write(progress)
        return json.loads((tmp_path / heartbeat.FILE).read_text())["seconds"]

    assert seconds(Progress(step=1, seconds=50.0, images=8, train_seconds=9.0)) == 60
    assert seconds(Progress(step=2, seconds=65.0, images=16, train_seconds=18.0)) == 70
    assert seconds(Progress(step=3, seconds=65.0)) == 80
    clock.now += heartbeat.INTERVAL - 0.1
    write(Progress(step=4))
    assert json.loads((tmp_path / heartbeat.FILE).read_text())["step"] == 3
