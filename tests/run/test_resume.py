"""A run that is stopped, however, and goes on ends as if it had never stopped: the same bits."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState

import folder
from common import main
from common.metrics import calibration
from common.run.provenance import this_python
from common.training import checkpoint, train_step

ROOT = Path(__file__).resolve().parents[2]
CLEAN = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "3"]
SCRATCH = [
    *("--protocol", "scratch", "-model", "vit_tiny_cifar", "--image_size", "16", "-bs", "8", "--micro_bs", "4"),
    *("--steps", "12", "--eval_every", "5", "--save_every", "3"),
]  # fmt: skip
TIMES = ("train_seconds", "data_seconds", "train_images_per_second")


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def start(*options: object) -> None:
    main(folder.DATASET, [*map(str, options)])


def killed_at(monkeypatch: pytest.MonkeyPatch, step: int, act, *options: object) -> None:
    """Run until the random numbers of a step are asked for; then `act`."""
    plain = train_step.derive_seed

    def seed_of(*what: object) -> int:
        if what[0] == "step" and what[2] == step:
            act()
        return plain(*what)

    with monkeypatch.context() as patch:
        patch.setattr(train_step, "derive_seed", seed_of)
        start(*options)


def die() -> None:
    raise Killed


def ends(out: Path) -> tuple:
    """All that must not depend on breaks."""
    result = json.loads((out / "result.json").read_text())
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    weights = [
        (out / name).read_bytes()
        for name in ("best.safetensors", "last.safetensors")
        if (out / name).exists()
    ]
    told = [{k: v for k, v in record.items() if k not in TIMES} for record in records]
    return weights, (out / "test_logits.npy").read_bytes(), told, result["test"], result["test_last"]


@pytest.mark.parametrize(
    ("options", "steps"), [(CLEAN, (2, 5, 9, 14)), (SCRATCH, (1, 3, 7, 11))], ids=("clean", "scratch")
)
def test_a_run_killed_at_a_step_ends_with_the_same_bits(options, steps, class_tree, monkeypatch) -> None:
    options = [*options, "--data_dir", class_tree(n=20)]
    start(*options, "--out", "whole")
    whole = ends(Path("whole"))
    assert not Path("whole/checkpoints").exists(), "a finished run has no use for them"
    for step in steps:
        out = f"killed_{step}"
        with pytest.raises(Killed):
            killed_at(monkeypatch, step, die, *options, "--out", out)
        assert not Path(out, "result.json").exists()
        start("--resume", out)
        assert ends(Path(out)) == whole, step
    result = json.loads(Path(out, "result.json").read_text())
    assert len(result["resumed_at"]) == 1 and result["resumed_at"][0] <= step


def test_killed_for_good_again_and_again(class_tree) -> None:
    """SIGKILL, from within, at a step: no handler, no clean-up; the second time while a checkpoint is written."""
    options = [*CLEAN, "--data_dir", str(class_tree(n=20))]
    start(*options, "--out", "whole")
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv.pop(1))
where = sys.argv.pop(1)
import torch, folder
from common import main
from common.training import checkpoint, train_step
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
plain, keep = train_step.derive_seed, torch.save
def derive_seed(*what):
    if what[0] == "step" and str(what[2]) == where:
        kill()
    return plain(*what)
def save(content, file):
    keep(content, file)
    if where == f"save {content['progress']['step']}":
        file.flush()
        kill()
train_step.derive_seed, torch.save = derive_seed, save
main(folder.DATASET, sys.argv[1:])
"""
    env = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    for where, more in (("7", [*options, "--out", "out"]), ("save 10", ["--resume", "out"])):
        done = subprocess.run([sys.executable, "-c", code, str(ROOT), where, *more], env=env, timeout=240)
        assert done.returncode == -signal.SIGKILL
    assert list(Path("out/checkpoints").glob(".*part*")), "half a checkpoint"
    start("--resume", "out")
    assert ends(Path("out")) == ends(Path("whole"))
    assert not list(Path("out").rglob(".*part*"))


@pytest.mark.parametrize(
    ("number", "step"), [(signal.SIGINT, 8), (signal.SIGTERM, 8), (signal.SIGTERM, 10), (signal.SIGTERM, 15)]
)
def test_a_signal_saves_and_says_how_to_go_on(class_tree, monkeypatch, capsys, number, step) -> None:
    """Between evaluations, at one, and at the last."""
    options, before = [*CLEAN, "--data_dir", class_tree(n=20)], signal.getsignal(number)
    with pytest.raises(SystemExit) as stop:
        killed_at(monkeypatch, step - 1, lambda: os.kill(os.getpid(), number), *options, "--out", "out")
    assert stop.value.code == 128 + number
    said = capsys.readouterr().err
    assert (
        f"stopped by {number.name} after step {step}; everything is saved; continue with: {this_python()} folder.py --resume out"
        in said
    )
    assert checkpoint.load(Path("out"))["progress"]["step"] == step
    assert signal.getsignal(number) == before
    start("--resume", "out")
    start(*options, "--out", "whole")
    assert ends(Path("out")) == ends(Path("whole"))


def test_a_signal_after_training_says_how_to_go_on(class_tree, monkeypatch, capsys) -> None:
    options, fit = [*CLEAN, "--data_dir", class_tree(n=20)], calibration.fit_temperature
    monkeypatch.setattr(calibration, "fit_temperature", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as stop:
        start(*options, "--out", "out")
    assert stop.value.code == 128 + signal.SIGTERM
    assert (
        f"stopped by SIGTERM; continue with: {this_python()} folder.py --resume out"
        in capsys.readouterr().err
    )
    monkeypatch.setattr(calibration, "fit_temperature", fit)
    start("--resume", "out")
    start(*options, "--out", "whole")
    assert ends(Path("out")) == ends(Path("whole"))


def stopped(class_tree, monkeypatch, step: int = 12) -> Path:
    with pytest.raises(Killed):
        killed_at(monkeypatch, step, die, *CLEAN, "--data_dir", class_tree(n=20), "--out", "out")
    return Path("out")


def refused(capsys, *options: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        start(*options)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_another_run_cannot_take_its_place(class_tree, monkeypatch, capsys, tmp_path: Path) -> None:
    out = stopped(class_tree, monkeypatch)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    said = refused(capsys, "--resume", out, "-bs", 4, "--seed", 1)
    assert "cannot resume out as another run: batch_size was 8, is 4;" in said
    assert "recipe.phases.0.lr was 0.0003, is 0.01" in refused(capsys, "--resume", out, "--lr", "0.01")
    with monkeypatch.context() as patch:
        patch.setattr("common.run.provenance.code_hash", lambda script: "other")
        assert "code was " in refused(capsys, "--resume", out)
    with open(out / ".lock") as held:
        import fcntl

        fcntl.flock(held, fcntl.LOCK_EX)
        assert "another process is working in out" in refused(capsys, "--resume", out)
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
    assert ends(Path("again")) == ends(out), "the file of options tells the whole run"


def test_killed_before_the_first_checkpoint(class_tree, monkeypatch) -> None:
    out = stopped(class_tree, monkeypatch, step=0)
    assert not (out / "checkpoints").exists()
    start("--resume", out)
    assert json.loads((out / "result.json").read_text())["resumed_at"] == []


def test_a_run_goes_on_in_another_precision_and_says_so(class_tree, monkeypatch) -> None:
    out = stopped(class_tree, monkeypatch)
    config = json.loads((out / "config.json").read_text())
    AcceleratorState._reset_state(
        reset_partial_state=True
    )  # a process has one precision; this one shall be another
    start("--resume", out, "--precision", "bf16" if config["precision"] == "fp32" else "fp32")
    result = json.loads((out / "result.json").read_text())
    (change,) = result["changed"]
    assert change == {
        "step": result["resumed_at"][0],
        "precision": [config["precision"], result["precision"]],
    }
    assert yaml.safe_load((out / "options.yaml").read_text())["precision"] == result["precision"]


def test_a_checkpoint_is_never_of_a_network_that_is_lost(class_tree, monkeypatch, capsys) -> None:
    options = [*CLEAN, "--data_dir", class_tree(n=20), "--out", "out", "--save_every", "1"]
    with monkeypatch.context() as patch:
        plain = train_step.F.cross_entropy
        patch.setattr(train_step.F, "cross_entropy", lambda *a, **k: lost(plain(*a, **k)))
        said = refused(capsys, *options)
    assert "the loss is NaN or infinite before step 9" in said
    start("--resume", "out")
    assert (Path("out") / "result.json").exists()


def lost(loss: torch.Tensor, calls: list[int] = []) -> torch.Tensor:  # noqa: B006
    """The ninth loss is no number."""
    calls.append(0)
    return loss * float("nan") if len(calls) == 9 else loss
