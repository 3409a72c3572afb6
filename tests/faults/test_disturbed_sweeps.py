"""Sweeps that are killed, alone or with all their runs, or that are two at once: every run is there, once, as if nothing had been."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHORT = [
    "--weights",
    "none",
    "--image_size",
    "32",
    "-bs",
    "8",
    "--steps",
    "24",
    "--eval_every",
    "8",
    "--save_every",
    "2",
]

pytestmark = pytest.mark.slow


class Sweep:
    """Two seeds of a small network on class folders, in one folder of runs."""

    def __init__(self, data: Path, out: Path):
        self.out = out
        what = [
            "--datasets",
            "folder",
            "--models",
            "timm:test_resnet",
            "--seeds",
            "0",
            "1",
            "--data",
            str(data),
        ]
        self.command = [
            sys.executable,
            "-m",
            "common",
            "sweep",
            *what,
            "--out",
            str(out),
            "--workers",
            "2",
            "--quiet",
            *SHORT,
        ]

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
        said, complaints = process.communicate()
        assert process.returncode == 0, complaints
        return said

    def wait_for(self, pattern: str) -> Path:
        for _ in range(1200):
            if found := sorted(self.out.glob(pattern)):
                return found[0]
            time.sleep(0.05)
        raise TimeoutError(pattern)

    def ends(self) -> dict[str, bytes]:
        """The weights of every run, by its name; nothing else lies about."""
        folders = [path for path in self.out.iterdir() if path.name != "logs"]
        assert not [path for path in folders if path.name.startswith(".")]
        return {path.name: (path / "best.safetensors").read_bytes() for path in folders}


@pytest.fixture
def sweep(class_tree, tmp_path: Path) -> Sweep:
    class_tree(n=20, base="data/folder")
    return Sweep(tmp_path / "data", tmp_path / "runs")


@pytest.fixture
def undisturbed(sweep: Sweep, tmp_path: Path) -> dict[str, bytes]:
    other = Sweep(tmp_path / "data", tmp_path / "whole")
    other.finish()
    return other.ends()


def test_killed_with_all_its_runs(sweep: Sweep, undisturbed: dict[str, bytes]) -> None:
    dice = random.Random(seed := 7)
    print("seed", seed)
    for _ in range(8):
        process = sweep.start()
        time.sleep(dice.uniform(1, 10))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert "2 of 2 runs finished, 0 failed" in sweep.finish()
    assert sweep.ends() == undisturbed


def test_killed_alone_its_runs_go_on_and_are_waited_for(sweep: Sweep, undisturbed: dict[str, bytes]) -> None:
    process = sweep.start()
    sweep.wait_for("*/checkpoints/last.pt")
    process.kill()
    assert "2 of 2 runs finished, 0 failed" in sweep.finish()
    assert sweep.ends() == undisturbed
    results = [json.loads(path.read_text()) for path in sweep.out.glob("*/result.json")]
    assert any(not result["resumed_at"] for result in results), "what went on was not begun again"


def test_two_at_once(sweep: Sweep, undisturbed: dict[str, bytes]) -> None:
    both = [sweep.start(), sweep.start()]
    for process in both:
        said, complaints = process.communicate()
        assert process.returncode == 0, complaints
        assert "2 of 2 runs finished, 0 failed" in said
    assert sweep.ends() == undisturbed


def test_a_killed_run_goes_on(sweep: Sweep, undisturbed: dict[str, bytes]) -> None:
    process = sweep.start()
    folder = sweep.wait_for("*/checkpoints/last.pt").parents[1]
    for entry in Path("/proc").iterdir():
        words = (
            (entry / "cmdline").read_bytes().split(b"\0")
            if entry.name.isdigit() and (entry / "cmdline").exists()
            else []
        )
        if str(folder).encode() in words:
            os.kill(int(entry.name), signal.SIGKILL)
    complaints = process.communicate()[1]
    assert process.returncode == 0, complaints
    assert "tried again after it was killed by SIGKILL" in complaints
    assert sweep.ends() == undisturbed


def test_ctrl_c_saves_and_the_same_command_goes_on(sweep: Sweep, undisturbed: dict[str, bytes]) -> None:
    process = sweep.start()
    sweep.wait_for("*/checkpoints/last.pt")
    os.killpg(process.pid, signal.SIGINT)
    _, complaints = process.communicate()
    assert process.returncode == 130
    assert "stopped; everything is saved; run the same command to continue" in complaints
    sweep.finish()
    assert sweep.ends() == undisturbed
