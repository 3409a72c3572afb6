"""A run that is interrupted and resumed ends with the same bits as one that is not."""

import json
import os
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from conftest import ROOT, make_class_tree, shorten_intervals

import folder
from common import main
from common.metrics import calibration
from common.run import setup
from common.run.provenance import this_python
from common.sweep.process import Process
from common.training import checkpoint, train_step
from common.training.evaluate import evaluate

CLEAN = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "3"]
SCRATCH = [
    *("--protocol", "scratch", "-model", "vit_tiny_cifar", "--image_size", "16", "-bs", "8", "--micro_bs", "4"),
    *("--steps", "8", "--eval_every", "5", "--save_every", "3"),
    *("--ema_decay", "0.8", "--mixup_alpha", "0.2", "--layer_decay", "0.9"),
]  # fmt: skip
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")


class Killed(BaseException):
    """Caught nowhere in common/."""


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], tuple]:
    """Options -> the results of a run that is not interrupted."""
    root = tmp_path_factory.mktemp("uninterrupted")
    images = make_class_tree(root, n=20)

    @cache
    def run(*options: str) -> tuple:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLASH_CACHE", str(root / "cache"))
            shorten_intervals(patch)
            out = root / str(len(options))
            start(*options, "--data_dir", images, "--out", out)
        return results_of(out)

    return lambda options: run(*options)


def start(*options: object) -> None:
    main(folder.DATASET, [*map(str, options)])


def interrupt_at(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None], *options: object) -> None:
    """Run; call `act` when a step begins."""
    derive_seed = train_step.derive_seed

    def watched(*key: object) -> int:
        if key[0] == "step" and key[2] == step:
            act()
        return derive_seed(*key)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "derive_seed", watched)
        start(*options)


def die() -> None:
    raise Killed


def results_of(out: Path) -> tuple:
    """All that must not depend on interruptions."""
    result = json.loads((out / "result.json").read_text())
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    weights = [(out / name).read_bytes() for name in ("best.safetensors", "last.safetensors") if (out / name).exists()]
    log = [{k: v for k, v in record.items() if k not in TIMES} for record in records]
    return weights, (out / "test_logits.npy").read_bytes(), log, result["test"], result["test_last"]


@pytest.mark.parametrize(("options", "steps"), [(CLEAN, (2, 5, 14)), (SCRATCH, (3, 7))], ids=("clean", "scratch"))
def test_killed_at_a_step(options, steps, class_tree, monkeypatch, uninterrupted) -> None:
    images = class_tree(n=20)
    for step in steps:
        out = Path(f"killed_{step}")
        with pytest.raises(Killed):
            interrupt_at(monkeypatch, step, die, *options, "--data_dir", images, "--out", out)
        assert not (out / "result.json").exists()
        start("--resume", out)
        assert results_of(out) == uninterrupted(options), step
    assert not (out / "checkpoints").exists(), "a finished run does not need them"
    result = json.loads((out / "result.json").read_text())
    assert len(result["resumed_at"]) == 1 and result["resumed_at"][0] <= step


def test_sigkill_while_a_checkpoint_is_written(class_tree, uninterrupted) -> None:
    """No handler, no clean-up."""
    code = """
import os, signal, sys
import torch, folder
from common import main
torch_save = torch.save
def save(content, file):
    torch_save(content, file)
    if content["progress"]["step"] == 10:
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
torch.save = save
main(folder.DATASET, sys.argv[1:])
"""
    options = [*CLEAN, "--data_dir", str(class_tree(n=20)), "--out", "out"]
    Path("killed.py").write_text(code)
    process = Process(["killed.py", *options], {**os.environ, "PYTHONPATH": str(ROOT)}, Path("log"))
    assert process.wait(240) == -signal.SIGKILL, Path("log").read_text()
    assert list(Path("out/checkpoints").glob(".*part*")), "half a checkpoint"
    start("--resume", "out")
    assert results_of(Path("out")) == uninterrupted(CLEAN)
    assert not list(Path("out").rglob(".*part*"))


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 8), (signal.SIGTERM, 10), (signal.SIGHUP, 15)])
def test_a_signal_saves_a_checkpoint(class_tree, monkeypatch, capsys, uninterrupted, number, step) -> None:
    """Between evaluations, at one, and at the last; the message has the command to continue."""
    options, handler = [*CLEAN, "--data_dir", class_tree(n=20)], signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        interrupt_at(monkeypatch, step - 1, lambda: os.kill(os.getpid(), number), *options, "--out", "out")
    assert stop.value.code == 128 + number
    expected = f"stopped by {number.name} after step {step}; everything is saved; continue with: {this_python()} folder.py --resume out"
    assert expected in capsys.readouterr().err
    assert checkpoint.load(Path("out"))["progress"]["step"] == step
    assert signal.getsignal(number) == handler
    start("--resume", "out")
    assert results_of(Path("out")) == uninterrupted(CLEAN)


@pytest.mark.parametrize("n", [1, 3])
def test_a_signal_in_an_evaluation(class_tree, monkeypatch, capsys, uninterrupted, n: int) -> None:
    """It ends at once and is repeated: the first of three, and the last."""
    calls = []

    def signalled(net, batches, accelerator, on_batch) -> np.ndarray:
        calls.append(0)
        if len(calls) == n:
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("it goes on")
        return evaluate(net, batches, accelerator, on_batch)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(setup, "evaluate", signalled)
        start(*CLEAN, "--data_dir", class_tree(n=20), "--out", "out")
    assert stop.value.code == 128 + signal.SIGTERM
    assert f"stopped by SIGTERM after step {5 * n}; everything is saved" in capsys.readouterr().err
    start("--resume", "out")
    assert results_of(Path("out")) == uninterrupted(CLEAN)


def test_a_signal_after_training(class_tree, monkeypatch, capsys, uninterrupted) -> None:
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(calibration, "fit_temperature", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        start(*CLEAN, "--data_dir", class_tree(n=20), "--out", "out")
    assert stop.value.code == 128 + signal.SIGTERM
    expected = f"stopped by SIGTERM; continue with: {this_python()} folder.py --resume out"
    assert expected in capsys.readouterr().err
    start("--resume", "out")
    assert results_of(Path("out")) == uninterrupted(CLEAN)


def stopped(class_tree, monkeypatch, step: int = 12) -> Path:
    """The folder of a run that was killed."""
    with pytest.raises(Killed):
        interrupt_at(monkeypatch, step, die, *CLEAN, "--data_dir", class_tree(n=20), "--out", "out")
    return Path("out")


def refused(capsys, *options: object, status: int = 2) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        start(*options)
    assert stop.value.code == status
    return capsys.readouterr().err


def test_other_settings_are_refused(class_tree, monkeypatch, capsys, tmp_path: Path) -> None:
    out = stopped(class_tree, monkeypatch)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    error = refused(capsys, "--resume", out, "-bs", 4, "--seed", 1)
    assert "cannot resume out as another run: batch_size was 8, is 4;" in error
    assert "recipe.phases.0.lr was 0.0003, is 0.01" in refused(capsys, "--resume", out, "--lr", "0.01")
    with monkeypatch.context() as patch:
        patch.setattr("common.run.provenance.code_hash", lambda script: "other")
        assert "code was " in refused(capsys, "--resume", out)
    with open(out / ".lock") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another process is using out" in refused(capsys, "--resume", out)
    (tmp_path / "images" / "ant" / "ant_0.jpg").unlink()
    assert "split.fingerprint was" in refused(capsys, "--resume", out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_checkpoints_that_cannot_be_read(class_tree, monkeypatch, capsys) -> None:
    out = stopped(class_tree, monkeypatch)
    last, best = out / "checkpoints/last.pt", out / "checkpoints/best.pt"
    assert best.exists()
    content = last.read_bytes()
    last.unlink()  # it may be the best one's twin
    last.write_bytes(content[:-1000])
    assert "cannot resume from out/checkpoints/last.pt" in refused(capsys, "--resume", out)
    last.unlink()
    start("--resume", out)
    with pytest.raises(SystemExit):
        start("--resume", out)
    assert "the run in out is finished" in capsys.readouterr().err


def test_no_code_runs_from_a_checkpoint(class_tree, monkeypatch, capsys) -> None:
    import pickle

    class Payload:
        def __reduce__(self):
            return os.system, ("touch stolen",)

    out = stopped(class_tree, monkeypatch)
    torch.save({"form": checkpoint.FORMAT, "net": Payload()}, out / "checkpoints/last.pt")
    refused(capsys, "--resume", out)
    (out / "checkpoints/last.pt").write_bytes(pickle.dumps(Payload()))
    refused(capsys, "--resume", out)
    assert not Path("stolen").exists()


def test_back_to_the_best_evaluation(class_tree, monkeypatch) -> None:
    out = stopped(class_tree, monkeypatch)
    best = checkpoint.load(out, best=True)["progress"]["step"]
    start("--resume", out / "best")
    result = json.loads((out / "result.json").read_text())
    assert result["resumed_at"] == [best]
    start("--config", "out/options.yaml", "--out", "again")
    assert results_of(Path("again")) == results_of(out), "options.yaml holds the whole run"


def test_killed_before_the_first_checkpoint(class_tree, monkeypatch) -> None:
    out = stopped(class_tree, monkeypatch, step=0)
    assert not (out / "checkpoints").exists()
    start("--resume", out)
    assert json.loads((out / "result.json").read_text())["resumed_at"] == []


def test_resumed_in_another_precision(class_tree, monkeypatch) -> None:
    out = stopped(class_tree, monkeypatch)
    config = json.loads((out / "config.json").read_text())
    AcceleratorState._reset_state(reset_partial_state=True)  # there is one precision per process
    start("--resume", out, "--precision", "bf16" if config["precision"] == "fp32" else "fp32")
    result = json.loads((out / "result.json").read_text())
    (change,) = result["changed"]
    assert change == {"step": result["resumed_at"][0], "precision": [config["precision"], result["precision"]]}
    assert yaml.safe_load((out / "options.yaml").read_text())["precision"] == result["precision"]


def test_no_checkpoint_of_a_diverged_network(class_tree, monkeypatch, capsys) -> None:
    options = [*CLEAN, "--data_dir", class_tree(n=20), "--out", "out", "--save_every", "1"]
    with monkeypatch.context() as patch:
        plain = train_step.F.cross_entropy
        patch.setattr(train_step.F, "cross_entropy", lambda *a, **k: diverge(plain(*a, **k)))
        error = refused(capsys, *options, status=3)
    assert "the loss is NaN or infinite before step 9" in error
    start("--resume", "out")
    assert (Path("out") / "result.json").exists()


def diverge(loss: torch.Tensor, calls: list[int] = []) -> torch.Tensor:  # noqa: B006
    """The ninth loss is NaN."""
    calls.append(0)
    return loss * float("nan") if len(calls) == 9 else loss
