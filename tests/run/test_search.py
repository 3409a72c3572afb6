"""Runs with a recipe search: when there is one, its trials, cached and resumed, and those that diverge."""

import json
from pathlib import Path

import pytest
import torch
from miniatures import picture
from mistakes import mistake
from tiny import TINY

import folder
from common import main
from common.training import recipe_search
from common.training.finetune import finetune
from common.training.recipe_search import RATES, best

N_TRIALS = 7


@pytest.fixture(autouse=True)
def _few_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_artifacts: None) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(recipe_search, "MIN_IMAGES", 1)
    monkeypatch.setattr(recipe_search, "MIN_STEPS", 1)


def search(images: Path, *options: object, lr: object = "auto", out: str = "out") -> dict:
    options = ("--epochs", 10, *options, "--data_dir", images, "--lr", lr, "--out", out)
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


def test_the_run_trains_with_the_best_recipe(class_tree, capsys) -> None:
    images = class_tree(n=20)
    result = search(images)
    trials, chosen = result["recipe_search"], best(result["recipe_search"])
    assert [each["lr"] for each in trials[:5]] == list(RATES["adamw"]) and len(trials) == N_TRIALS
    assert (result["recipe"]["phases"][0]["lr"], result["recipe_source"]) == (chosen["lr"], "searched")
    assert result["cost"]["train_seconds"] > sum(each["seconds"] for each in trials)
    assert f"recipe search: learning rate {chosen['lr']:g}" in capsys.readouterr().err
    other = search(images, lr=chosen["lr"], out="same")
    assert Path("out/best.safetensors").read_bytes() == Path("same/best.safetensors").read_bytes()
    assert (other["recipe_search"], other["recipe_source"]) == (None, "options")


def test_an_interrupted_search_continues(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    images = class_tree(n=20)

    def interrupted(n: int, *options: object, out: str = "out") -> int:
        tasks = interrupted_at(monkeypatch, n)
        with pytest.raises(SystemExit) as stop:
            search(images, *options, out=out)
        assert stop.value.code == 130
        return len(tasks)

    interrupted(3)
    assert not Path("out").exists()
    tasks = interrupted_at(monkeypatch, 0)
    assert len(search(images)["recipe_search"]) == N_TRIALS
    assert len(tasks) == N_TRIALS - 2 + 1, "two trials were cached; the run itself"
    assert interrupted(1, out="again") == 1, "all are cached: the first task is the run itself"
    picture(12345).save("images/ant/ant_0.jpg")
    assert interrupted(2, out="images_changed") == 2, "other images of the same names"


def test_a_resumed_run_does_not_search_again(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    images = class_tree(n=20)
    tasks = interrupted_at(monkeypatch, N_TRIALS + 1)
    with pytest.raises(SystemExit):
        search(images, "--no_cache")
    recipe = tasks[-1].recipe
    tasks = interrupted_at(monkeypatch, 0)
    main(folder.DATASET, ["--resume", "out"])
    assert [task.recipe for task in tasks] == [recipe]


def test_a_diverging_rate_is_the_worst(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its only update: the loss before it is finite, the evaluation after it is not."""
    monkeypatch.setitem(RATES, "sgd", (3e-2, 1e38))
    trials = search(class_tree(n=20), "-bs", 64, "--epochs", 10, "--optimizer", "sgd")["recipe_search"]
    assert [each["score"] is None for each in trials] == [False, True]


def test_too_few_images_for_a_search(class_tree, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(recipe_search, "MIN_IMAGES", 40)
    assert search(class_tree(n=20))["recipe_source"] == "unmeasured"
    assert (
        "no recipe search, 6 validation images are too few: learning rate 0.0003 (unmeasured"
        in capsys.readouterr().err
    )


def test_a_search_or_none(class_tree, tmp_path: Path) -> None:
    options = ("--data_dir", class_tree(), "--lr", "auto", "--no_search")
    assert "--no_search and --lr auto contradict" in mistake(tmp_path, "folder.py", *options)


def test_out_of_memory_names_the_smaller_batch(class_tree, monkeypatch, capsys) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("common.training.finetune.finetune", train)
    with pytest.raises(SystemExit) as stop:
        search(class_tree(n=20))
    assert stop.value.code == 2 and "out of memory at a batch of 8: try -bs 4" in capsys.readouterr().err
