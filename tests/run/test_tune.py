"""Runs with `--compile` and `--tune`."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import digits
from common import main
from common.training import autotune
from common.training.device import Speed

TINY = "-model vgg11_cifar --weights none --image_size 32 -bs 16 --steps 2 --shots 3".split()


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals: None) -> None:
    monkeypatch.chdir(tmp_path)


def run(*options: str, out: str = "out") -> dict:
    main(digits.DATASET, [*TINY, *options, "--out", out])
    return json.loads(Path(out, "result.json").read_text())


def test_tuning_is_for_one_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as stop:
        run("--tune")
    assert stop.value.code == 2 and "--tune works with a single process" in capsys.readouterr().err


@pytest.mark.slow
def test_compiled_it_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and differentiated as for a compiler, without the minutes of one."""
    compile_net, compiled_nets = nn.Module.compile, []

    def compile(net: nn.Module, *, mode: str, dynamic: bool) -> None:
        compiled_nets.append(net)
        compile_net(net, backend="aot_eager", dynamic=dynamic)

    monkeypatch.setattr(nn.Module, "compile", compile)
    plain, compiled = run("--precision", "fp32"), run("--precision", "fp32", "--compile", out="compiled")
    assert len(compiled_nets) == 1
    assert compiled["compiled"] and compiled["compile_mode"] == "default"
    assert not plain["compiled"] and plain["memory_format"] == "channels_last"
    assert abs(plain["test"]["nll"]["value"] - compiled["test"]["nll"]["value"]) < 0.02
    torch._dynamo.reset()


def test_tune_chooses_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fastest = Speed(precision="bf16", channels_last=False)
    times = {"step_seconds": 1.0, "start_seconds": 0.0}
    monkeypatch.setattr(autotune, "_measure", lambda *_: [(fastest, times)])
    result = run("--tune")
    assert (result["precision"], result["memory_format"], result["compiled"]) == ("bf16", "contiguous", False)
