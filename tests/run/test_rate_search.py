"""Runs with `--lr auto`: their trials, cached and resumed, and the rates that diverge."""

import json
from pathlib import Path

import pytest
import torch
from miniatures import picture
from tiny import TINY

import folder
from common import main
from common.training.finetune import finetune
from common.training.lr_search import RATES, best_rate

N_TRIALS = 7


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_artifacts: None) -> None:
    monkeypatch.chdir(tmp_path)


def search(images: Path, *options: object, lr: object = "auto", out: str = "out") -> dict:
    options = ("--epochs", 4, *options, "--data_dir", images, "--lr", lr, "--out", out)
    main(folder.DATASET, [*TINY, *map(str, options)])
    return json.loads(Path(out, "result.json").read_text())


def interrupted_at(monkeypatch: pytest.MonkeyPatch, n: int) -> list:
    """All tasks that are trained from now on; Ctrl-C interrupts the nth."""
    tasks = []

    def train(task, *more):
        tasks.append(task)
        if len(tasks) == n:
            raise KeyboardInterrupt
        return finetune(task, *more)

    monkeypatch.setattr("common.training.finetune.finetune", train)
    return tasks


def test_the_run_trains_at_the_best_rate(class_tree) -> None:
    images = class_tree(n=20)
    result = search(images)
    trials = result["lr_search"]
    assert [each["steps"] for each in trials] == [2] * 5 + [5] * 2
    assert result["recipe"]["phases"][0]["lr"] == best_rate(trials)
    other = search(images, lr=best_rate(trials), out="same")
    assert Path("out/best.safetensors").read_bytes() == Path("same/best.safetensors").read_bytes()
    assert other["lr_search"] is None


def test_an_interrupted_search_continues(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    images = class_tree(n=20)

    def interrupted(n: int, *options: object, out: str = "out") -> int:
        tasks = interrupted_at(monkeypatch, n)
        with pytest.raises(SystemExit) as stop:
            search(images, *options, out=out)
        assert stop.value.code == 130
        return len(tasks)

    interrupted(4)
    assert not Path("out").exists()
    tasks = interrupted_at(monkeypatch, 0)
    assert len(search(images)["lr_search"]) == N_TRIALS
    assert len(tasks) == N_TRIALS - 3 + 1, "three trials were cached; the run itself"
    assert interrupted(N_TRIALS + 1, "--seed", 1, out="seed") == N_TRIALS + 1, "trials of another seed"
    assert interrupted(1, out="again") == 1, "all are cached: the first task is the run itself"
    assert interrupted(2, "--no_cache", out="fresh") == 2, "nothing is cached"
    picture(12345).save("images/ant/ant_0.jpg")
    assert interrupted(2, out="images_changed") == 2, "other images of the same names"


def test_a_diverging_rate_is_the_worst(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its only update: the loss before it is finite, the evaluation after it is not."""
    monkeypatch.setitem(RATES, "sgd", (3e-3, 1e-2, 3e-2, 1e-1, 1e38))
    trials = search(class_tree(n=20), "-bs", 64, "--epochs", 2, "--optimizer", "sgd")["lr_search"]
    assert [each["score"] is None for each in trials] == [False] * 4 + [True] + [False] * 2


def test_out_of_memory_names_the_smaller_batch(class_tree, monkeypatch, capsys) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("common.training.finetune.finetune", train)
    with pytest.raises(SystemExit) as stop:
        search(class_tree(n=20))
    assert stop.value.code == 2 and "out of memory at a batch of 8: try -bs 4" in capsys.readouterr().err
