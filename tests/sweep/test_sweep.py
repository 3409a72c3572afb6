"""A sweep skips what is finished, goes on with what is not, and loses one run where one run dies."""

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from common.__main__ import main
from common.cli.grid import Grid, expand
from common.run.provenance import this_python
from common.sweep import attempt, ledger, prices, value, view, workers
from common.sweep.attempt import How, Outcome, carry_out
from common.sweep.plan import Cell
from common.sweep.sweep import Where, sweep

ROOT = Path(__file__).resolve().parents[2]
HOW = How(threads=1, stall=60.0)
CONFIG = {"dataset": "ant", "backbone": "net", "seed": 0, "metric": "top1", "chosen_on": "val", "steps_per_epoch": 5, "micro_bs": 32,
          "precision": "bf16", "recipe": {"phases": []}}  # fmt: skip
RESULT = {"metric": "top1", "test": {"top1": {"value": 0.75, "interval": None}}}
# What a run does, time after time; all that a script of ours shows to the outside, without torch
SCRIPT = """
import json, os, signal, sys, time
from pathlib import Path

words = sys.argv[1:]
out = Path(words[words.index("--out" if "--out" in words else "--resume") + 1])
notes = Path(__file__).parent / f"{out.name}.jsonl"
with open(notes, "a") as file:
    print(json.dumps(words), file=file)
acts = json.loads((Path(__file__).parent / "acts.json").read_text()).get(out.name, ["finish"])
act, _, more = acts[min(len(notes.read_text().splitlines()), len(acts)) - 1].partition(":")
if "begun" in more:
    out.mkdir(exist_ok=True)
    (out / "options.yaml").write_text("")
    (out / "config.json").write_text(json.dumps(CONFIG))
if act == "finish":
    out.mkdir(exist_ok=True)
    (out / "result.json").write_text(json.dumps(RESULT))
if act == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if act == "hang":
    (out / "progress.json").write_text(json.dumps({"step": 3}))
    time.sleep(600)
if act == "stopped":
    sys.exit(128 + signal.SIGTERM)
if act == "traceback":
    raise LookupError("a bug of ours")
if act == "say":
    print("error:", more.removeprefix("begun "), file=sys.stderr)
    sys.exit(2)
""".replace("CONFIG", repr(CONFIG)).replace("RESULT", repr(RESULT))


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., Path]:
    """A script that does as it is told, run by run."""

    def make(**acts: list[str]) -> Path:
        (tmp_path / "acts.json").write_text(json.dumps(acts))
        (tmp_path / "script.py").write_text(SCRIPT)
        return tmp_path / "script.py"

    return make


def cell(script: Path, name: str = "run", **other) -> Cell:
    about = {
        "dataset": "ant",
        "backbone": "net",
        "seed": 0,
        "few": "",
        "protocol": "clean",
        "batch_size": 32,
        "micro_bs": 32,
    }
    return Cell(name=name, script=script, words=("--lr", "0.1"), looks=100, pixels=64, **about | other)


def started(tmp_path: Path, name: str = "run") -> list[list[str]]:
    """The words of each of its processes."""
    return [json.loads(line) for line in (tmp_path / f"{name}.jsonl").read_text().splitlines()]


def test_a_run_is_a_process_with_its_own_folder_and_log(script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert carry_out(cell(script()), out, HOW) == Outcome("finished", "top1 75.00 %")
    assert started(tmp_path) == [["--lr", "0.1", "--out", str(out / "run")]]
    assert carry_out(cell(script()), out, HOW).state == "finished"
    assert len(started(tmp_path)) == 1, "a finished run is not started again"


def test_a_killed_run_goes_on_once(script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ended = carry_out(cell(script(run=["kill:begun", "finish"])), out, HOW)
    assert ended.state == "finished" and ended.again == ("it was killed by SIGKILL",)
    assert started(tmp_path)[1] == ["--resume", str(out / "run")]


def test_a_run_that_dies_again_fails_with_reason_and_command(script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = cell(script(run=["kill:begun"]))
    assert carry_out(run, out, HOW).state == "failed"
    assert len(started(tmp_path)) == 2
    note = ledger.failures(out)["run"]
    assert "SIGKILL" in note.reason and "tried again" in note.reason
    assert note.command.endswith(f"script.py --resume {out / 'run'}")
    assert Path(note.log).exists()
    script(run=["finish"])
    assert carry_out(run, out, HOW).state == "finished"
    assert not ledger.failures(out)


def test_want_of_memory_halves_what_is_computed_at_once(script, tmp_path: Path) -> None:
    ended = carry_out(
        cell(script(run=["say:out of memory at a batch of 32: try less", "finish"])), tmp_path / "out", HOW
    )
    assert ended.again == ("running out of memory",)
    assert started(tmp_path)[1][-1] == "--micro_bs=16"


def test_a_smaller_piece_divides_the_batch(script, tmp_path: Path) -> None:
    run = cell(
        script(run=["say:out of memory at a batch of 9: try less", "finish"]), batch_size=9, micro_bs=9
    )
    assert carry_out(run, tmp_path / "out", HOW).state == "finished"
    assert started(tmp_path)[1][-1] == "--micro_bs=3"


def test_a_lost_loss_goes_on_in_float32(script, tmp_path: Path) -> None:
    acts = ["say:begun the loss is NaN or infinite before step 9: try", "finish"]
    assert carry_out(cell(script(run=acts)), tmp_path / "out", HOW).again == ("a NaN or infinite loss",)
    assert started(tmp_path)[1] == ["--resume", str(tmp_path / "out" / "run"), "--precision=fp32"]


@pytest.mark.parametrize(
    ("act", "reason"), [("say:no data there", "no data there"), ("traceback", "LookupError: a bug of ours")]
)
def test_what_would_happen_again_is_not_tried_again(script, tmp_path: Path, act: str, reason: str) -> None:
    assert carry_out(cell(script(run=[act])), tmp_path / "out", HOW) == Outcome("failed", reason)
    assert len(started(tmp_path)) == 1


def test_a_run_without_life_is_ended_and_tried_again(script, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(attempt, "LOOK", 0.05)
    run = cell(script(run=["hang:begun", "finish"]))
    assert carry_out(run, tmp_path / "out", replace(HOW, stall=1.0)).again == ("it stalled",)


def test_what_another_process_does_is_waited_for(script, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(attempt, "WAIT", 0.05)
    folder = tmp_path / "out" / "run"
    folder.mkdir(parents=True)
    with open(folder / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        def finish() -> None:
            time.sleep(0.3)
            (folder / "result.json").write_text(json.dumps(RESULT))
            held.close()

        threading.Thread(target=finish).start()
        assert carry_out(cell(script()), tmp_path / "out", HOW).state == "finished"
    assert not (tmp_path / "run.jsonl").exists(), "nothing was started"


def test_what_another_process_does_comes_last(script, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(attempt, "WAIT", 0.05)
    path, out = script(), tmp_path / "out"
    (out / "a").mkdir(parents=True)
    with open(out / "a" / ".lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        work = workers.work([cell(path, "a"), cell(path, "b")], out, HOW, 1, 0, {})
        first = next(event for event in work if event)
        assert first[0].name == "b" and first[1].state == "finished"
    assert [event[0].name for event in work if event] == ["a"]


def test_a_run_that_was_told_to_stop_goes_on(script, tmp_path: Path) -> None:
    ended = carry_out(cell(script(run=["stopped:begun", "finish"])), tmp_path / "out", HOW)
    assert ended.again == ("it was killed by SIGTERM",)


def test_a_note_ends_with_the_failure(script, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = cell(script(run=["traceback"]))
    carry_out(run, out, HOW)
    (out / "failed" / ".run.0a.part.json").write_text("")  # somebody was killed while he wrote
    assert list(ledger.failures(out)) == ["run"]
    (out / "run").mkdir()
    (out / "run" / "result.json").write_text(json.dumps(RESULT))  # by hand
    assert not ledger.failures(out)


def test_a_full_disk_costs_a_run(script, tmp_path: Path, monkeypatch) -> None:
    def full(*_) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(ledger, "note_failure", full)
    path, where = script(a=["traceback"]), Where(workers=1, gpus=0, ray=None, cpu_alone=True)
    ended = sweep([cell(path, "a"), cell(path, "b")], tmp_path / "out", HOW, where, {}, print, quiet=True)
    assert ended == {"failed": 1, "finished": 1}


def test_a_stop_lets_the_run_save(script, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(attempt, "LOOK", 0.05)
    out = tmp_path / "out"
    ended = carry_out(
        cell(script(run=["hang:begun"])), out, HOW, stop=lambda: int((out / "run" / "progress.json").exists())
    )
    assert ended.state == "stopped"
    assert not ledger.failures(out)


def test_too_late_is_not_begun(script, tmp_path: Path) -> None:
    assert carry_out(cell(script()), tmp_path / "out", HOW, latest=time.time() - 1).state == "late"
    assert not (tmp_path / "out").exists()


def test_one_that_dies_costs_one(script, tmp_path: Path) -> None:
    path = script(b=["traceback"])
    cells = [cell(path, name) for name in "abc"]
    out, where = tmp_path / "out", Where(workers=2, gpus=0, ray=None, cpu_alone=True)
    lines: list[str] = []
    ended = sweep(cells, out, HOW, where, {}, lines.append, quiet=True)
    assert ended == {"finished": 2, "failed": 1}
    assert any("failed: LookupError: a bug of ours" in line for line in lines)
    assert ledger.pending(cells, out, retry=False) == ([], 2, 1)
    assert ledger.pending(cells, out, retry=True) == ([cells[1]], 2, 0)
    told = view.status(out)
    assert f"again: {this_python()}" in told and told.endswith("2 finished, 0 running, 0 stopped, 1 failed")


def test_ray_does_the_same(script, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed")
    path = script(b=["kill:begun", "finish"], c=["traceback"])
    cells = [cell(path, name) for name in "abc"]
    where = Where(workers=1, gpus=0, ray="local", cpu_alone=True)
    assert sweep(cells, tmp_path / "out", HOW, where, {}, print, quiet=True) == {"finished": 2, "failed": 1}


def test_a_price_is_that_of_runs_like_it(script, tmp_path: Path) -> None:
    out = tmp_path / "out" / "before"
    out.mkdir(parents=True)
    result = {
        "backbone": "net", "batch_size": 10, "preprocess": {"size": [8, 8]}, "last": {"step": 9}, "recipe": {"eval_every": 3},
        "split": {"train": 30, "val": 2, "test": 3}, "cost": {"total_seconds": 93.0, "train_seconds": 50.0}, "protocol": "clean",
    }  # fmt: skip
    (out / "result.json").write_text(json.dumps(result))
    known = prices.prices(tmp_path / "out", None)
    looks = 90 + (3 * 2 + 3) // 3
    assert prices.price(cell(script()), known) == pytest.approx(93.0 / looks * 100)
    assert prices.price(cell(script(), backbone="other"), known) is None
    told = prices.told([cell(script()), cell(script(), backbone="other")], known, 2)
    assert told == "about 50 s with 2 at a time, 1 of unknown cost"


def command(*options: object, **more) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "common", "sweep", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(words, capture_output=True, text=True, env=environment, **more)


def test_the_real_thing(class_tree, tmp_path: Path) -> None:
    """Interrupted after a checkpoint, gone on with, then skipped; another option makes another run."""
    class_tree(n=20, base="data/folder")
    options = [
        "--datasets",
        "folder",
        "--models",
        "timm:test_resnet",
        "--seeds",
        0,
        1,
        "--data",
        tmp_path / "data",
    ]
    options += ["--weights", "none", "--image_size", 32, "-bs", 8, "--steps", 8, "--eval_every", 4]
    done = command(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs finished, 0 failed" in done.stdout
    results = sorted((tmp_path / "runs/sweep").glob("*/result.json"))
    assert [json.loads(path.read_text())["seed"] for path in results] == [0, 1]
    before = {path: path.read_bytes() for path in results}
    again = command(*options, cwd=tmp_path)
    assert "2 finished, 0 failed, 0 to do" in again.stderr
    plan = command(*options, "--lr", 0.01, "--plan", cwd=tmp_path)
    assert "2 runs: 0 finished, 0 failed, 2 to do; about" in plan.stdout
    assert {path: path.read_bytes() for path in results} == before


def plan(capsys, *options: object) -> list[str]:
    """The names of the runs."""
    capsys.readouterr()
    main(["sweep", *map(str, options), "--plan"])
    *lines, _ = capsys.readouterr().out.splitlines()
    return [line.split()[0] for line in lines]


def test_a_name_is_all_that_decides_the_result(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    base = ["--datasets", "folder", "--models", "efficientnet_lite0", "--weights", "none"]
    (name,) = plan(capsys, *base)
    assert plan(capsys, *base, "--out", "elsewhere", "--no_cache") == [name]
    assert plan(capsys, *base, "--epochs", 3) != [name]
    assert plan(capsys, *base, "--image_size", 64) != [name]
    (tmp_path / "data").rename("moved")
    assert plan(capsys, *base, "--data", "moved") == [name]
    (tmp_path / "moved/folder/ant/ant_3.jpg").unlink()
    assert plan(capsys, *base, "--data", "moved") != [name]
    more = [*base, "--data", "moved", "--seeds", 0, 1, 2, "--fraction", 0.5, 1.0]
    names = plan(capsys, *more)
    assert len(set(names)) == 6
    assert [name.split("-")[2] for name in names] == ["s0", "s0", "s1", "s1", "s2", "s2"]
    shards = [plan(capsys, *more, "--shard", f"{i}/4") for i in range(4)]
    assert sorted(name for shard in shards for name in shard) == sorted(names)


def test_an_array_job_does_the_shards(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    main(
        [
            "sweep",
            "--datasets",
            "folder",
            "--models",
            "paper",
            "--weights",
            "none",
            "--slurm",
            "array.sh",
            "--epochs",
            "3",
        ]
    )
    assert "11 runs -> array.sh" in capsys.readouterr().out
    text = Path("array.sh").read_text()
    assert "#SBATCH --array=0-10\n" in text
    subprocess.run(["bash", "-n", "array.sh"], check=True)
    task = text.replace("exec ", "exec env ").replace("--workers 1", "--plan --workers 1")
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "4", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", task], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.startswith("folder-swin_v2_t-s0-")
    assert "1 runs: 0 finished" in done.stdout


def test_every_magnification_is_told_to_its_script(tmp_path: Path) -> None:
    """What a sheet's own parser takes for its default is another than the script's."""
    (tmp_path / "breakhis" / "x").mkdir(parents=True)
    grid = Grid(
        datasets=["breakhis"], models=["resnet50"], seeds=[0], train_sizes=[], data=tmp_path, options=[]
    )
    runs, _ = expand(grid)
    assert [run.words[run.words.index("--magnification") + 1] for run in runs] == [
        "40x",
        "100x",
        "200x",
        "400x",
    ]
    assert all(run.words[run.words.index("--data_dir") + 1] == str(tmp_path / "breakhis") for run in runs)
    assert [run.run.dataset.name for run in runs] == [
        "breakhis-40x",
        "breakhis-100x",
        "breakhis-200x",
        "breakhis-400x",
    ]


def test_of_all_datasets_what_cannot_run_is_left_out(class_tree, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    class_tree(n=2, base="data/eurosat")
    names = plan(capsys, "--datasets", "all", "--models", "efficientnet_lite0")
    assert [name.split("-")[0] for name in names] == ["digits", "folder"]


def test_too_few_images_for_some_shots_leave_the_others(
    class_tree, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(n=20, base="data/folder")
    names = plan(
        capsys,
        "--datasets",
        "all",
        "--models",
        "efficientnet_lite0",
        "efficientnet_lite1",
        "--weights",
        "none",
        "--shots",
        "5",
        "500",
    )
    assert [name.split("-")[:2] for name in names] == [
        [dataset, model]
        for dataset in ("digits", "folder")
        for model in ("efficientnet_lite0", "efficientnet_lite1")
    ]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--datasets", "digits", "--seeds", "-1"], "--seeds -1: expected 0 or more"),
        (["--datasets", "digits", "--slurm", "nowhere/x.sh"], "no folder nowhere for x.sh"),
        (["--datasets", "eurosta"], "no dataset 'eurosta': did you mean 'eurosat'?"),
        (
            ["--datasets", "eurosat", "--models", "efficientnet_lite0"],
            "no data in data/eurosat: python -m common fetch eurosat",
        ),
        (["--datasets", "digits", "--models", "resnet5"], "unknown model 'resnet5'"),
        (
            ["--datasets", "digits", "--models", "efficientnet_lite0", "--fold", "1"],
            "error: unrecognized arguments: --fold 1 (digits.py --help)",
        ),
        (
            ["--datasets", "digits", "--budget", "1h", "--protocol", "scratch", "--models", "resnet18_cifar"],
            "drop --protocol",
        ),
        (["--datasets", "digits", "--slurm", "x.sh", "--plan"], "drop --plan and --shard"),
        (["--datasets", "digits", "--seed", "3"], "--seed is set by the sweep"),
        (["--datasets", "digits", "--workers", "0"], "--workers 0: expected 1 or more"),
        (
            ["--datasets", "digits", "--models", "cifar"],
            "digits: none of the backbones can run: ",
        ),
        (
            ["--datasets", "digits", "--models", "efficientnet_lite0", "--bench", "none.json"],
            "cannot read none.json",
        ),
    ],
)
def test_mistakes(options: list[str], said: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["sweep", *options])
    assert stop.value.code == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_probes_decide_what_is_fine_tuned(script, tmp_path: Path) -> None:
    out, scores = tmp_path / "out", {"a": 0.5, "b": 0.9, "c": 0.7, "d": 0.8, "e": 0.6}
    path = script()
    for name, score in scores.items():
        (out / f"probe-{name}").mkdir(parents=True)
        told = {"metric": "top1", "best": {"val_top1": score}, "test": {"top1": {"value": 1 - score}}}
        (out / f"probe-{name}" / "result.json").write_text(json.dumps(told))
    probes = [cell(path, f"probe-{name}", backbone=name) for name in (*scores, "f")]
    cells = [
        cell(path, f"{name}-s{seed}", backbone=name, seed=seed) for seed in (5, 1) for name in (*scores, "f")
    ]
    kept, dropped = value.by_value(cells, probes, out)
    assert [run.name for run in kept] == ["b-s5", "d-s5", "c-s5", "f-s5", "b-s1", "d-s1", "c-s1", "f-s1"]
    assert dropped == {("ant", ""): ["e (60.0 %)", "a (50.0 %)"]}


def test_a_budget_probes_first(class_tree, tmp_path: Path) -> None:
    class_tree(n=20, base="data/folder")
    options = [
        "--datasets",
        "folder",
        "--models",
        "timm:test_resnet",
        "--data",
        tmp_path / "data",
        "--weights",
        "none",
    ]
    options += ["--image_size", 32, "-bs", 8, "--steps", 4, "--eval_every", 4]
    done = command(*options, "--budget", "10m", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = [json.loads(path.read_text()) for path in (tmp_path / "runs/sweep").glob("*/result.json")]
    assert sorted(result["protocol"] for result in results) == ["clean", "probe"]
    again = command(*options, "--budget", "10m", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("1 finished, 0 failed, 0 to do") == 2
    late = command(*options, "--budget", "1s", "--lr", 0.01, "--out", "late", cwd=tmp_path)
    assert late.returncode == 0
    assert "1 not started: out of time" in late.stdout
