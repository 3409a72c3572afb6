"""Joules: a GPU's own counter, made up here; what a run takes, over its breaks, too."""

import math
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tiny import recipe, task

from common.metrics import energy
from common.training import checkpoint
from common.training.finetune import Fitted, finetune

CUDA = torch.device("cuda", 0)


def counter(monkeypatch: pytest.MonkeyPatch, millijoules) -> None:
    nvml = SimpleNamespace(
        NvmlError=KeyError,
        init_v2=lambda: None,
        device_get_handle_by_uuid={"GPU-1-2": "the handle"}.__getitem__,
        device_get_total_energy_consumption=lambda handle: millijoules[handle],
    )
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(nvml=nvml))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1-2"))


def test_the_counter_of_this_gpu_in_joules(monkeypatch: pytest.MonkeyPatch) -> None:
    millijoules = {"the handle": 5000}
    counter(monkeypatch, millijoules)
    meter = energy.meter(CUDA)
    assert meter() == 5
    millijoules["the handle"] = 5500
    assert meter() == 5.5


def test_without_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    counter(monkeypatch, {})
    assert math.isnan(energy.meter(CUDA)()), "a GPU without a counter"
    assert math.isnan(energy.meter(torch.device("cpu"))())
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    assert math.isnan(energy.meter(CUDA)()), "the package is missing"


def train(folder: Path, saved: dict | None) -> Fitted:
    checkpoints = checkpoint.CheckpointConfig(folder=folder, every=5)
    return finetune(task(recipe=recipe(epochs=2)), lambda record: None, checkpoints, saved)


def test_joules_of_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy, "meter", lambda device: count(100.0).__next__)  # a joule per look
    assert train(tmp_path, None).joules == 3, "two checkpoints and the end"
    saved = checkpoint.load(tmp_path)
    assert saved["progress"]["joules"] == 2
    assert train(tmp_path, saved).joules == 3, "nothing was left but the end"
    saved["progress"]["joules"] = math.nan
    assert train(tmp_path, saved).joules is None, "a part of it was not counted"
