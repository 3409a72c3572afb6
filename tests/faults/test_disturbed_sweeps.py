"""Sweeps that are killed, alone or with their runs, or started twice at once: every run is finished once, unaffected."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = "--weights none --image_size 32 -bs 8 --steps 24 --eval_every 8 --save_every 2".split()

pytestmark = pytest.mark.slow


class Sweep:
    """Two seeds of a small network on class folders, in one folder of runs."""

    def __init__(self, data: Path, out: Path):
        self.out = out
        grid = ("--datasets", "folder", "--models", "timm:test_resnet", "--seeds", "0", "1", "--workers", "2")
        folders = ("--data", str(data), "--out", str(out))
        self.command = [sys.executable, "-m", "common", "sweep", *grid, *folders, "--quiet", *SHORT]

    def start(self) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            self.command,
            env=environment,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self) -> str:
        process = self.start()
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output

    def wait_for(self, pattern: str) -> Path:
        for _ in range(1200):
            if found := sorted(self.out.glob(pattern)):
                return found[0]
            time.sleep(0.05)
        raise TimeoutError(pattern)

    def weights(self) -> dict[str, bytes]:
        """The weights of every run, by its name; no temporary file is left."""
        folders = [path for path in self.out.iterdir() if path.name != "logs"]
        assert not [path for path in folders if path.name.startswith(".")]
        return {path.name: (path / "best.safetensors").read_bytes() for path in folders}


@pytest.fixture
def sweep(class_tree, tmp_path: Path) -> Sweep:
    class_tree(n=20, base="data/folder")
    return Sweep(tmp_path / "data", tmp_path / "runs")


@pytest.fixture
def reference(sweep: Sweep, tmp_path: Path) -> dict[str, bytes]:
    other = Sweep(tmp_path / "data", tmp_path / "reference")
    other.finish()
    return other.weights()


def test_killed_with_its_runs(sweep: Sweep, reference: dict[str, bytes]) -> None:
    rng = random.Random(seed := 7)
    print("seed", seed)
    for _ in range(8):
        process = sweep.start()
        time.sleep(rng.uniform(1, 10))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "2 of 2 runs finished, 0 failed" in sweep.finish()
    assert sweep.weights() == reference


def test_runs_of_a_killed_sweep_are_waited_for(sweep: Sweep, reference: dict[str, bytes]) -> None:
    process = sweep.start()
    sweep.wait_for("*/checkpoints/last.pt")
    process.kill()
    assert "2 of 2 runs finished, 0 failed" in sweep.finish()
    assert sweep.weights() == reference
    results = [json.loads(path.read_text()) for path in sweep.out.glob("*/result.json")]
    assert any(not result["resumed_at"] for result in results), "the run that continued was not started again"


def test_two_at_once(sweep: Sweep, reference: dict[str, bytes]) -> None:
    both = [sweep.start(), sweep.start()]
    for process in both:
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        assert "2 of 2 runs finished, 0 failed" in output
    assert sweep.weights() == reference


def test_a_killed_run_is_resumed(sweep: Sweep, reference: dict[str, bytes]) -> None:
    process = sweep.start()
    folder = sweep.wait_for("*/checkpoints/last.pt").parents[1]
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if os.readlink(descriptor) == str(folder / ".lock"):
                os.kill(int(descriptor.parts[2]), signal.SIGKILL)
    errors = process.communicate()[1]
    assert process.returncode == 0, errors
    assert "tried again after it was killed by SIGKILL" in errors
    assert sweep.weights() == reference


def test_ctrl_c_saves_and_the_same_command_continues(sweep: Sweep, reference: dict[str, bytes]) -> None:
    process = sweep.start()
    sweep.wait_for("*/checkpoints/last.pt")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate()
    assert process.returncode == 130
    assert "stopped; everything is saved; run the same command to continue" in errors
    sweep.finish()
    assert sweep.weights() == reference
