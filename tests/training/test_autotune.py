"""Tuning: what is timed, cached and chosen."""

import pytest
import torch
from tiny import net
from torch import nn

from common.errors import UserError
from common.files.disk_cache import cache_dir
from common.training import autotune
from common.training.device import Speed


def test_timings_are_cached_and_the_start_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {
        Speed(precision="fp32"): (1.0, 0.0),
        Speed(precision="fp32", channels_last=False): (1.5, 0.0),
        Speed(precision="fp32", compiled=True): (0.5, 100.0),
    }
    timed: list[Speed] = []

    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        timed.append(speed)
        return dict(zip(("step_seconds", "start_seconds"), times[speed], strict=True))

    monkeypatch.setattr(autotune, "step_times", time)

    def tuned(steps: int) -> Speed:
        return autotune.tune(nn.Identity, "net", torch.device("cpu"), "a machine", "fp32", (8, 3, 8, 8), steps)

    assert tuned(steps=50) == Speed(precision="fp32")
    assert tuned(steps=500) == Speed(precision="fp32", compiled=True)  # compiling pays off in a long run
    assert timed == list(times) and len(list(cache_dir().glob("tuned/*.json"))) == 1


def test_settings_without_memory_or_compiler_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        if speed.compiled:
            raise torch._dynamo.exc.BackendCompilerFailed(time, RuntimeError("no compiler"), None)
        if speed.channels_last:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return {"step_seconds": 1.0, "start_seconds": 0.0}

    monkeypatch.setattr(autotune, "step_times", time)
    net = (nn.Identity, "net", torch.device("cpu"), "a machine")
    assert autotune.tune(*net, "fp32", (8, 3, 8, 8), 9) == Speed(precision="fp32", channels_last=False)

    def never(*_: object) -> dict[str, float]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(autotune, "step_times", never)
    with pytest.raises(UserError, match="out of memory at a batch of 4"):
        autotune.tune(*net, "fp32", (4, 3, 8, 8), 9)


def test_step_times() -> None:
    times = autotune.step_times(net, torch.device("cpu"), (4, 3, 8, 8), Speed(precision="bf16", channels_last=False))
    assert 0 < times["step_seconds"] < 5 and times["start_seconds"] >= 0
