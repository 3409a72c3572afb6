"""The runs of a race: their rates, folds and folders; a race of `recommend --budget`, interrupted and continued."""

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from folders import SMALL, TINY, class_folders, noise, write_test_predictions

import folder
from common.__main__ import main
from common.cli import continuation
from common.cli.commands import recommend as recommend_command
from common.cli.parse import make_config, parse
from common.errors import TrainingError, UserError
from common.recommend import cost_model, dataset, finetuning
from common.recommend.race import log as race_log
from common.recommend.race import loop
from common.recommend.race import runs as race_runs
from common.recommend.race import setup as race_setup
from common.recommend.race.log import Entry
from common.run import provenance
from common.spec import RunConfig
from common.sweep.process import Process
from common.training import recipes

COMMAND = ["recommend", "noise", "-model", *TINY[:2], *SMALL, "--budget", "2h", "--tolerance", "1", "--out", "a.json"]


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are not measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})


class FakeRuns:
    """Stands for `finetuning.finetune`: writes what a run leaves, right with a probability per model."""

    def __init__(self, accuracy: dict[str, float], failing: tuple = (), untuned: tuple = (), stop_after: int = 10**9):
        self.accuracy, self.failing, self.untuned, self.stop_after = accuracy, failing, untuned, stop_after
        self.seconds = 0.0  # that a result records
        self.options: list[dict[str, str]] = []
        self.held_out: list[set[str]] = []

    def __call__(self, config: RunConfig, script: list[str], split: Path, out: Path, *options: str) -> str:
        if len(self.options) == self.stop_after:
            raise KeyboardInterrupt(signal.SIGINT)
        assert not {"--shots", "--fraction"} & set(script)
        given = dict(zip(options[::2], options[1::2], strict=True)) | {"model": config.model}
        self.options.append(given)
        lr = float(given["--lr"])
        if (config.model, lr) in self.failing:
            raise finetuning.Failed(config.model, TrainingError.exit_status)
        with open(split, newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["part"] == "test"]
        self.held_out.append({row["path"] for row in rows})
        rng = np.random.default_rng(len(self.options))
        out.mkdir()
        right = rng.random(len(rows)) < self.accuracy[config.model]
        write_test_predictions(out, [row["path"] for row in rows], [row["label"] for row in rows], right)
        best = {"step": 0 if (config.model, lr) in self.untuned else 9, "val_top1": 0.5 + lr}
        (out / "best.safetensors").write_text("weights")
        cost = {"total_seconds": self.seconds, "train_seconds": 0.0}
        (out / "result.json").write_text(json.dumps({"best": best, "cost": cost}))
        return ""


@pytest.fixture
def data() -> str:
    return class_folders("noise", {"a": 60, "b": 60}, noise)


def test_a_race_is_interrupted_and_continued(
    data: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Test images are in no run; no finished run is repeated; the weights of short runs are deleted."""
    fake = FakeRuns(dict.fromkeys(TINY, 0.7) | {TINY[1]: 0.95}, stop_after=3)
    monkeypatch.setattr(finetuning, "finetune", fake)
    with pytest.raises(SystemExit) as end:
        main([*COMMAND, "--shots", "30"])
    assert end.value.code == 128 + signal.SIGINT
    assert "stopped; run the same command to continue" in capsys.readouterr().err
    assert json.loads(Path("a.json").read_text())["race"] is None

    fake.stop_after = 10**9
    main([*COMMAND, "--shots", "30"])
    printed = capsys.readouterr()
    answer = json.loads(Path("a.json").read_text())
    raced = answer["race"]["backbones"]
    assert raced[0]["name"] == TINY[1] and raced[0]["regret"] <= 0.01 and answer["race"]["ended"] == "tolerance"
    assert answer["advice"] == printed.out.splitlines()[-1] and answer["advice"].startswith(
        f"Take {TINY[1]}: expected loss"
    )
    assert (
        "no test image is used" in printed.out
        and "Learning rates: the better of two at each length (2 backbones)." in printed.out
        and "race, " in printed.err
    )
    settings = [tuple(sorted(options.items())) for options in fake.options]
    assert len(set(settings)) == len(settings), "a run is repeated"
    (folder,) = Path("runs").glob("race-*")
    assert not list(folder.glob("*/best.safetensors")) and len(list(folder.glob("*/result.json"))) == len(settings)
    used = set.union(*fake.held_out)
    assert len(used) <= answer["of"] and all(10 <= len(fold) <= 15 for fold in fake.held_out)
    with open(folder / "fold0.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == answer["images"] and {row["part"] for row in rows} == {"train", "test"}


def test_a_race_out_of_time_is_continued_with_a_larger_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Into the same file; any other command leaves it alone."""
    line = "common recommend my_images --budget 30m --out a.json"
    time, tolerance = ({"ended": ended, "tolerance": 0.003} for ended in ("time", "tolerance"))
    for race, command, budget, limit, continues in (
        (time, line.replace("30m", "2h"), 7200, None, True),
        (time, f"{line.replace(' --budget 30m', '')} --tolerance 0.1 --budget=3h", 10800, 0.1, True),
        (time, line, 1800, None, False),
        (time, line + " --shots 5 --budget", 7200, None, False),
        (tolerance, line, 1800, None, False),
        (tolerance, line + " --tolerance 0.1", 1800, 0.1, True),
        (None, line, 1800, None, True),
    ):
        Path("a.json").write_text(json.dumps({"command": line, "budget_seconds": 1800, "race": race}))
        monkeypatch.setattr(provenance, "command", lambda command=command: command)
        options = SimpleNamespace(out=Path("a.json"), budget=budget, tolerance=limit)
        assert continuation.continues(options) == continues, command
    Path("a.json").write_text("[]")
    assert not continuation.continues(options)


def test_the_help_states_the_tolerance() -> None:
    assert f"(default: {loop.TOLERANCE})" in recommend_command._parser().format_help()


def prepared(monkeypatch: pytest.MonkeyPatch, data: str, finetune: Callable) -> race_runs.RaceRuns:
    """The runs of two networks without a measured rate."""
    arguments = ["--data_dir", data, "--device", "cpu", *SMALL]
    sheets = (folder.DATASET,)
    configs = [make_config(sheets, parse(sheets, [*arguments, "-model", name])) for name in TINY[:2]]
    row = {"step_seconds": 0.08}
    images = dataset.load(configs[0], None, False, lambda line: None)
    monkeypatch.setattr(finetuning, "finetune", finetune)
    script = [str(ROOT / "folder.py"), *arguments[:4], "--offline", "--precision", "fp32"]
    return race_setup._prepare([row, row], np.full((9, 2), 0.7), configs, script, images, lambda line: None)[1]


def test_rates_are_searched_once_per_length(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRuns(dict.fromkeys(TINY, 0.7))
    runs = prepared(monkeypatch, data, fake)
    expected = [runs.cost((0, 0, s)) for s in (0, 1)]
    first, second = runs.train((0, 0, 0)), runs.train((0, 0, 1))
    rates = [(float(o["--lr"]), int(o["--seed"])) for o in fake.options]
    assert rates == [(3e-4, 0), (1e-4, 0), (3e-4, 1)], "two rates, then the one that is better on validation"
    assert runs.n_rates(0) == 2
    assert [len(run.scores) for run in (first, second)] == [20, 19] and set(first.scores) == {0, 100}
    assert fake.held_out[0] == fake.held_out[1] and not fake.held_out[0] & fake.held_out[2]
    assert first.seconds == pytest.approx(sum(e.seconds for e in runs.entries[:2]))
    assert expected[0] == expected[1] == 2 * (race_runs.STARTUP + 10) and runs.cost((0, 0, 2)) < 1
    runs.train((0, 2, 0))
    assert [float(o["--lr"]) for o in fake.options[3:]] == [1e-3, 3e-4], "longer runs stand more"
    again, failed = runs.finished()
    assert {(r.candidate, r.rung, r.seed) for r in again} == {(0, 0, 0), (0, 0, 1), (0, 2, 0)}
    assert not failed and np.array_equal(again[0].scores, first.scores)


def test_lower_rates_follow_where_none_improves(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = TINY[0]
    fake = FakeRuns(dict.fromkeys(TINY, 0.7), failing=((name, 3e-4),), untuned=((name, 1e-4),))
    runs = prepared(monkeypatch, data, fake)
    assert runs.train((0, 0, 0)) is not None
    assert [float(o["--lr"]) for o in fake.options] == [3e-4, 1e-4, 3e-5]
    fake = FakeRuns({}, failing=tuple((name, lr) for lr in race_runs.RATES))
    monkeypatch.setattr(finetuning, "finetune", fake)
    before = runs.spent()
    assert runs.train((0, 2, 0)) is None and len(fake.options) == 4 and runs.finished()[1] == {0}
    assert runs.spent() == before + sum(entry.seconds for entry in runs.entries[3:]) > before


def test_a_run_that_ended_before_it_was_logged(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is that of its result."""
    fake = FakeRuns(dict.fromkeys(TINY, 0.7))
    fake.seconds = 25.0
    runs = prepared(monkeypatch, data, fake)
    runs.train((0, 0, 0))
    again = replace(runs, entries=[])
    assert again.train((0, 0, 0)).seconds == again.spent() == runs.spent() == 50 and len(fake.options) == 2


def test_a_later_seed_that_fails_ends_a_candidate_for_good(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = prepared(monkeypatch, data, FakeRuns(dict.fromkeys(TINY, 0.7)))
    assert runs.train((0, 0, 0)) is not None and not runs.finished()[1]
    monkeypatch.setattr(finetuning, "finetune", FakeRuns({}, failing=((TINY[0], 3e-4),)))
    assert runs.train((0, 0, 1)) is None and runs.finished()[1] == {0}


def test_a_search_whose_winner_is_gone_is_repeated(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever another seed has run at that rate."""
    fake = FakeRuns(dict.fromkeys(TINY, 0.7))
    runs = prepared(monkeypatch, data, fake)
    runs.train((0, 0, 0)), runs.train((0, 0, 1))
    entries = [entry for entry in runs.entries if (entry.lr, entry.seed) != (3e-4, 0)]
    again = replace(runs, entries=entries, folder=runs.folder.with_name("again"))
    assert again.finished() == ([], set())
    assert again.train((0, 0, 0)) is not None and float(fake.options[-1]["--lr"]) == 3e-4


@pytest.mark.parametrize("status", [-9, 1, 2])
def test_only_a_failed_training_is_a_failure(data: str, monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    """Not a killed run, a bug of ours, or what the user can fix, such as a full disk or changed images."""

    def ended(config: RunConfig, *_: object) -> str:
        raise finetuning.Failed(config.model, status)

    runs = prepared(monkeypatch, data, ended)
    with pytest.raises(UserError, match=f"ended with status {status}"):
        runs.train((0, 0, 0))
    assert not runs.entries and not runs.folder.joinpath(race_log.FILE).exists()


def test_the_same_run_twice_is_one(tmp_path: Path) -> None:
    """Of another image size or other weights it is another one."""
    config = SimpleNamespace(model="a", weights="imagenet", image_size=(64, 64))
    entry, lines = Entry("a", "imagenet", (64, 64), 125, 1e-3, 0, 5.0, 0.8, True), []
    others = replace(entry, backbone="b"), replace(entry, image_size=(96, 96)), replace(entry, weights="none")
    for one in (entry, entry, *others):
        race_log.append(tmp_path, one)
    assert race_log.read(tmp_path, [config], lines.append) == []
    assert lines == [f"{tmp_path / entry.folder} is gone: its run does not count"]
    (tmp_path / entry.folder).mkdir()
    (tmp_path / entry.folder / "result.json").write_text("{}")
    assert race_log.read(tmp_path, [config], lines.append) == [entry] and len(lines) == 1
    race_log.append(tmp_path, replace(entry, seconds=6.0))
    assert race_log.read(tmp_path, [config], lines.append) == [replace(entry, seconds=6.0)] and len(lines) == 1
    text = (tmp_path / race_log.FILE).read_text()
    (tmp_path / race_log.FILE).write_text(text + json.dumps(asdict(replace(entry, seconds=7.0))) + "\n")
    assert race_log.read(tmp_path, [config], lines.append) == [replace(entry, seconds=7.0)] and len(lines) == 2
    assert "lists seed 0 of a twice: it counts once" in lines[1]
    good = json.dumps(asdict(entry))
    bad = ('"lr": "x"', '"lr": 0.001'), ('"seconds": null', '"seconds": 5.0'), ('"val": "high"', '"val": 0.8')
    for damage in (b"{", b"[1]", b"\xff\xff", *(good.replace(old, new).encode() for new, old in bad)):
        (tmp_path / race_log.FILE).write_bytes(damage)
        with pytest.raises(UserError, match="delete it"):
            race_log.read(tmp_path, [config], lines.append)


@pytest.mark.parametrize("content", [None, "garbage", "image,label,predicted\n", "image,label\na,b\n"])
def test_damaged_predictions_are_named(tmp_path: Path, content: str | None) -> None:
    write_test_predictions(tmp_path, ["x", "y"], ["a", "b"], np.array([True, False]))
    assert finetuning.predictions([tmp_path])[2].tolist() == [[0, 0]]
    (tmp_path / "predictions.csv").unlink()
    if content is not None:
        (tmp_path / "predictions.csv").write_text(content)
    with pytest.raises(UserError, match="missing or damaged: delete the folder"):
        finetuning.predictions([tmp_path])


def test_a_real_run(data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a forked process, which is faster."""

    def fork(args: list[str], **_: object) -> subprocess.CompletedProcess:
        return subprocess.CompletedProcess(args, Process(args[1:], os.environ, Path("log")).wait(240), "")

    monkeypatch.setattr(recipes, "MIN_STEPS", 8)
    monkeypatch.setattr(recipes, "EPOCHS", 1)
    monkeypatch.setattr(race_runs, "RATES", (1e-3,))
    runs = prepared(monkeypatch, data, finetuning.finetune)
    monkeypatch.setattr(finetuning, "subprocess", SimpleNamespace(run=fork, PIPE=subprocess.PIPE))
    run = runs.train((0, 2, 0))
    assert set(run.scores) <= {0, 100} and len(run.scores) == 20 and run.seconds > 0
    assert runs.finished()[0][0].scores.tolist() == run.scores.tolist()
