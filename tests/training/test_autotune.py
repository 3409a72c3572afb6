"""Tuning: what is timed, cached and chosen; and compiled networks."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny import batches, net, recipe, task
from torch import nn

from common.errors import UserError
from common.files.disk_cache import cache_dir
from common.metrics import cost
from common.training import autotune
from common.training.autotune import TrainingSteps
from common.training.device import Speed
from common.training.evaluate import evaluate
from common.training.finetune import finetune


def test_timings_are_cached_and_the_start_is_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {
        Speed(precision="fp32"): (1.0, 0.0),
        Speed(precision="fp32", channels_last=False): (1.5, 0.0),
        Speed(precision="fp32", compile_mode="default"): (0.5, 100.0),
    }
    timed: list[Speed] = []

    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        timed.append(speed)
        return dict(zip(("step_seconds", "start_seconds"), times[speed], strict=True))

    monkeypatch.setattr(autotune, "step_times", time)

    def tuned(steps: int) -> Speed:
        work = TrainingSteps(steps, 1, (8, 3, 8, 8))
        return autotune.tune(nn.Identity, "net", torch.device("cpu"), "a machine", "fp32", work)

    assert tuned(steps=50) == Speed(precision="fp32")
    assert tuned(steps=500) == Speed(precision="fp32", compile_mode="default")  # compiling pays off in a long run
    assert timed == list(times) and len(list(cache_dir().glob("tuned/*.json"))) == 1


def test_settings_without_memory_or_compiler_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        if speed.compile_mode:
            raise torch._dynamo.exc.BackendCompilerFailed(time, RuntimeError("no compiler"), None)
        if speed.channels_last:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return {"step_seconds": 1.0, "start_seconds": 0.0}

    monkeypatch.setattr(autotune, "step_times", time)
    net = (nn.Identity, "net", torch.device("cpu"), "a machine")
    assert autotune.tune(*net, "fp32", TrainingSteps(9, 1, (8, 3, 8, 8))) == Speed(
        precision="fp32", channels_last=False
    )

    def never(*_: object) -> dict[str, float]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(autotune, "step_times", never)
    with pytest.raises(UserError, match="out of memory at a batch of 4"):
        autotune.tune(*net, "fp32", TrainingSteps(9, 1, (4, 3, 8, 8)))


def test_step_times() -> None:
    times = autotune.step_times(net, torch.device("cpu"), (4, 3, 8, 8), Speed(precision="bf16", channels_last=False))
    assert 0 < times["step_seconds"] < 5 and times["start_seconds"] >= 0


def test_a_busy_machine_does_not_change_the_step_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 3 CPU seconds takes 54 while other processes have the cores."""
    seconds = iter(
        [(60.0, 5.0), (60.0, 5.0), (54.0, 3.5), (3.0, 6.0), (54.0, 4.0)]
    )  # wall, CPU; two threads in one step
    now = SimpleNamespace(wall=0.0, cpu=0.0)

    class Slow(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            wall, cpu = next(seconds)
            now.wall, now.cpu = now.wall + wall, now.cpu + cpu
            return super().forward(images)

    clock = SimpleNamespace(perf_counter=lambda: now.wall, process_time=lambda: now.cpu)
    for module in (autotune, cost):
        monkeypatch.setattr(module, "time", clock)
    times = autotune.step_times(lambda: Slow(net()), torch.device("cpu"), (4, 3, 8, 8), Speed(precision="fp32"))
    assert times == {"step_seconds": 3.0, "start_seconds": 120.0 - 2 * 3.0}


@pytest.mark.parametrize(
    ("micro_batches", "modes"),
    [(1, ["default", "reduce-overhead", "max-autotune"]), (4, ["default", "max-autotune-no-cudagraphs"])],
)
def test_on_a_gpu_all_modes_are_timed(micro_batches: int, modes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA graphs where no gradients accumulate."""
    timed: list[Speed] = []

    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        timed.append(speed)
        return {"step_seconds": 1 / len(timed), "start_seconds": 0.0}

    monkeypatch.setattr(autotune, "step_times", time)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    steps = TrainingSteps(9, micro_batches, (4, 3, 8, 8))
    best = autotune.tune(nn.Identity, "net", torch.device("cuda"), "a GPU", "auto", steps)
    assert [speed.compile_mode for speed in timed] == [None, None, *modes]
    assert best == timed[-1] == Speed(precision="bf16", channels_last=False, compile_mode=modes[-1])


def test_a_compiled_network_compiles_once() -> None:
    """Not again for evaluation, its last batch, another part or another epoch."""
    compiled = []

    def backend(graph: torch.fx.GraphModule, _: object) -> Callable:
        compiled.append(graph)
        return graph.forward

    eager, kinds = net(), [batches(21), batches(11)]
    module = net()
    module.compile(backend=backend, dynamic=False)
    plan = task(net=module, train=batches(43), recipe=recipe(2))

    def validate(module: nn.Module) -> tuple[float, dict]:
        for part in kinds:
            eager.load_state_dict(module.state_dict())
            logits = [evaluate(each, part, plan.accelerator) for each in (module, eager)]
            assert (logits[0] == logits[1]).all()
        return 1.0, {}

    finetune(replace(plan, validate=validate), lambda record: None)
    torch._dynamo.reset()
    assert len(compiled) == 1
