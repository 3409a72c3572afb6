"""The GPU check on a CPU: its sections pass, and fail where something is broken."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import digits
from benchmarks import gpu_sections
from benchmarks.gpu import correctness, runs, shared, speed
from common.data.augment import augment
from common.data.loader import Batches
from common.metrics import energy
from common.recommend import cost_model
from common.training import train_step
from common.training.device import make_accelerator
from common.transfer.features import Extractor, Features, extract_features

UNTRAINED = "-model timm:test_resnet --weights none --image_size 32 -bs 64 --steps 1"
ROOT = Path(__file__).resolve().parent.parent
apply, cross_entropy = augment.apply, train_step.F.cross_entropy


def failures(section: str) -> list[str]:
    return [check["check"] for check in gpu_sections.SECTIONS[section](smoke=True) if not check["ok"]]


@pytest.mark.parametrize("section", ["branches", "precision", "accumulation", "syncs"])
def test_a_section_passes(section: str) -> None:
    assert failures(section) == []


def normalise_differently(self: Batches, images: torch.Tensor) -> torch.Tensor:
    return images / 255 if isinstance(self.pixels, torch.Tensor) else images / 255 - 0.5


def lose_more_in_bf16(logits: torch.Tensor, *rest: object, **more: object) -> torch.Tensor:
    return cross_entropy(logits, *rest, **more) * (1.2 if torch.is_autocast_enabled("cpu") else 1)


def lose_features_in_bf16(extractor: Extractor, *rest: object) -> Features:
    features = extract_features(extractor, *rest)
    return features if extractor.precision == "fp32" else replace(features, values=features.values[::-1])


def restore_nothing(script: str) -> str:
    return script.replace(
        "prepare = ",
        "from common.training import train_state\ntrain_state.checkpoint.restore = lambda *_: None\nprepare = ",
    )


def slow_loading(models: list[str], *_: object) -> Iterator[dict]:
    figures = ("synthetic", "peak_memory_bytes", "utilization", "precision")
    return ({**dict.fromkeys(figures), "backbone": name, "end_to_end": 100.0, "ratio": 0.1} for name in models)


def wait_for_a_number(images: torch.Tensor, *rest: object) -> torch.Tensor:
    assert images.sum().item() > 0
    return apply(images, *rest)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "owner", "name", "fault"),
    [
        ("branches", Batches, "_normalise", normalise_differently),
        ("precision", train_step.F, "cross_entropy", lose_more_in_bf16),
        ("accumulation", shared, "make_accelerator", lambda *args: make_accelerator(*args[:3])),
        ("compilation", nn.Module, "compile", lambda net, **_: None),
        ("resume", runs, "DETERMINISTIC", restore_nothing(runs.DETERMINISTIC)),
        ("memory", runs, "little_memory", lambda size: nullcontext()),
        ("bench", speed, "bench_each", slow_loading),
        ("syncs", augment, "apply", wait_for_a_number),
        ("probe", correctness, "extract_features", lose_features_in_bf16),
        ("peak", cost_model, "_estimate", lambda *_, **__: cost_model.Cost(1, 1, 1.0, 10**10)),
        ("joules", energy, "meter", lambda device: lambda: 1.0),
        ("target", runs, "_target_run", lambda smoke: (digits.DATASET, 0.9, UNTRAINED)),
        ("limit", speed, "bare_rate", lambda *_: 1e9),
        ("loops", speed, "ROOT", Path("elsewhere")),
    ],
)
def test_a_section_finds_a_fault(
    section: str, owner: object, name: str, fault: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, fault)
    assert failures(section)


@pytest.mark.slow
def test_all_sections(tmp_path: Path) -> None:
    """As on a GPU, each in its own process; minutes on a busy machine."""
    command = [sys.executable, "benchmarks/gpu_check.py", "--smoke", "--minutes", "15", "--out", str(tmp_path)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    sections = json.loads((tmp_path / "gpu_check.json").read_text())
    assert run.returncode == 0 and {s["status"] for s in sections} == {"passed"}, run.stdout


def test_failures_are_recorded(tmp_path: Path) -> None:
    """A section whose time is over or that dies does not keep the others from running."""
    from benchmarks import gpu_check

    section = gpu_check.run_section("resume", 0.01, tmp_path, smoke=True)
    assert section["status"] == "time over" and section["checks"] == []
    section = gpu_check.run_section("no such section", 60, tmp_path, smoke=True)
    assert section["status"] == "error" and "invalid choice" in section["traceback"]
    assert "invalid choice" in gpu_check.table([section])
