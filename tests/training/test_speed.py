"""What makes runs fast changes no result: streaming, tuning, compiling; and the command that measures it."""

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn

import digits
from common import Augment, main
from common.__main__ import main as command
from common.data.images.cache import cache_dir
from common.data.loader import Batches
from common.errors import UserError
from common.spec import Preprocess, Speed
from common.training import autotune
from common.training.device import prepare

PLAIN = Preprocess(size=(8, 8), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
TINY = [
    "-model",
    "timm:test_resnet",
    "--weights",
    "none",
    "--image_size",
    "32",
    "--epochs",
    "2",
    "--shots",
    "8",
]


def batches(pixels: object, **more) -> Batches:
    labels, device = np.arange(50) % 2, torch.device("cpu")
    return Batches(
        pixels=pixels,
        indices=np.arange(50),
        labels=labels,
        preprocess=PLAIN,
        batch_size=8,
        device=device,
        **more,
    )


def test_streamed_or_looked_up_is_the_same(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = batches(np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    on_device = batches(torch.from_numpy(pixels))
    augment = Augment(crop=0.5, dihedral=True, trivial=True)
    for one, two in (
        (islice(mapped.train(augment, 0), 6), islice(on_device.train(augment, 0), 6)),
        (mapped.eval(), on_device.eval()),
    ):
        pairs = list(zip(one, two, strict=True))
        assert len(pairs) in (4, 6)
        assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in pairs)


def test_batches_lie_in_memory_as_asked() -> None:
    pixels = np.zeros((50, 8, 8, 3), np.uint8)
    for last in (True, False):
        images, _ = next(batches(pixels, channels_last=last).train(Augment(flip=True), 0))
        assert images.is_contiguous(memory_format=torch.channels_last) == last


def test_evaluation_takes_twice_of_what_trains_at_once() -> None:
    pixels = np.zeros((50, 8, 8, 3), np.uint8)
    for more, largest in (({}, 16), ({"micro_batches": 4}, 4), ({"world": 2}, 8)):
        sizes = [len(labels) for _, labels in batches(pixels, **more).eval()]
        assert max(sizes) == largest and sum(sizes) == 50 // more.get("world", 1)


def test_a_consumer_that_stops_early_leaves_no_thread() -> None:
    import threading

    before = threading.active_count()
    stream = batches(np.zeros((50, 8, 8, 3), np.uint8)).train(Augment(), 0)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_tuning_is_remembered_and_weighs_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        Speed(precision="fp32"): (1.0, 0.0),
        Speed(precision="fp32", channels_last=False): (1.5, 0.0),
        Speed(precision="fp32", compiled=True): (0.5, 100.0),
    }
    asked: list[Speed] = []

    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        asked.append(speed)
        return dict(zip(("step_seconds", "start_seconds"), told[speed], strict=True))

    monkeypatch.setattr(autotune, "step_times", time)

    def tuned(steps: int) -> Speed:
        return autotune.tune(
            nn.Identity, "net", torch.device("cpu"), "a machine", "fp32", (8, 3, 8, 8), steps
        )

    assert tuned(steps=50) == Speed(precision="fp32")
    assert tuned(steps=500) == Speed(precision="fp32", compiled=True)  # compiling pays off in a long run
    assert asked == list(told) and len(list(cache_dir().glob("tuned/*.json"))) == 1


def test_tuning_leaves_out_what_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def time(build: object, device: object, batch: object, speed: Speed) -> dict[str, float]:
        if speed.compiled:
            raise torch._dynamo.exc.BackendCompilerFailed(time, RuntimeError("no compiler"), None)
        if speed.channels_last:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return {"step_seconds": 1.0, "start_seconds": 0.0}

    monkeypatch.setattr(autotune, "step_times", time)
    net = (nn.Identity, "net", torch.device("cpu"), "a machine")
    assert autotune.tune(*net, "fp32", (8, 3, 8, 8), 9) == Speed(precision="fp32", channels_last=False)
    with pytest.raises(UserError, match="--precision fp16 needs CUDA"):
        prepare(torch.device("cpu"), "fp16")

    def never(*_: object) -> dict[str, float]:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(autotune, "step_times", never)
    with pytest.raises(UserError, match="out of memory at a batch of 4"):
        autotune.tune(*net, "fp32", (4, 3, 8, 8), 9)


def test_tuning_is_for_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit) as stop:
        main(digits.DATASET, [*TINY, "--tune"])
    assert stop.value.code == 2 and "--tune works with a single process" in capsys.readouterr().err


def test_a_setting_is_really_timed() -> None:
    def net() -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))

    took = autotune.step_times(
        net, torch.device("cpu"), (4, 3, 8, 8), Speed(precision="bf16", channels_last=False)
    )
    assert 0 < took["step_seconds"] < 5 and took["start_seconds"] >= 0


def test_compiled_it_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Captured and differentiated as for a compiler, whose minutes are spared."""
    monkeypatch.chdir(tmp_path)
    really, compiled_nets = nn.Module.compile, []

    def compile(net: nn.Module) -> None:
        compiled_nets.append(net)
        really(net, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile)
    results = []
    for name, options in (("plain", []), ("compiled", ["--compile"])):
        torch._dynamo.reset()
        main(digits.DATASET, [*TINY, "--precision", "fp32", *options, "--out", name])
        results.append(json.loads(Path(name, "result.json").read_text()))
    plain, compiled = results
    assert len(compiled_nets) == 1
    assert compiled["compiled"] and not plain["compiled"] and plain["memory_format"] == "channels_last"
    assert abs(plain["test"]["nll"]["value"] - compiled["test"]["nll"]["value"]) < 0.02


def test_tune_chooses_for_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = Speed(precision="bf16", channels_last=False)
    monkeypatch.setattr(
        autotune, "_measure", lambda *_: [(chosen, {"step_seconds": 1.0, "start_seconds": 0.0})]
    )
    main(digits.DATASET, [*TINY, "--tune", "--out", "out"])
    result = json.loads(Path("out/result.json").read_text())
    assert (result["precision"], result["memory_format"], result["compiled"]) == ("bf16", "contiguous", False)


def test_bench(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    options = ["--image_size", "32", "-bs", "4", "--steps", "2", "--precision", "fp32", "--out", str(out)]
    run = subprocess.run(
        [sys.executable, "-m", "common", "bench", "-model", "timm:test_resnet", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    (row,) = json.loads(out.read_text())
    assert row["backbone"] == "timm:test_resnet" and row["size"] == [32, 32] and row["precision"] == "fp32"
    assert row["synthetic"] > 0 and row["end_to_end"] > 0 and 0 < row["utilization"] < 1
    assert len(row["ratios"]) == 4 and row["ratios"][0] <= row["ratio"] <= row["ratios"][-1]
    assert row["peak_memory_bytes"] > 10**7
    assert "timm:test_resnet" in run.stdout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-model", "resnet51"], "resnet51"),
        (["-model", "efficientnet_v2_s", "--image_size", "16"], "needs images of 33 pixels or more"),
        (["--steps", "0"], "--steps 0: expected 1 or more"),
        (["--out", "there"], "there exists already"),
    ],
)
def test_bench_is_told_what_is_wrong(
    options: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there").touch()
    with pytest.raises(SystemExit) as stop:
        command(["bench", *options])
    assert stop.value.code == 2 and says in capsys.readouterr().err
