"""Runs with a recipe search: when there is one, its trials, cached and resumed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from miniatures import picture
from mistakes import mistake
from safetensors.torch import save_file

import folder
from common import main
from common.models.build import create_model, get_backbone
from common.run.recorded_recipe import describe_recipe
from common.training import recipe_search, recipes, search_budget
from common.training.finetune import finetune

N_TRIALS = 4
TINY = ("-model", "timm:test_resnet", "--image_size", "32", "-bs", "8", "--steps", "30")


@pytest.fixture
def search(
    class_tree: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals: None
) -> Callable[..., dict]:
    """A run from pretrained weights whose best rate is the third; the fourth is tried, too."""
    torch.manual_seed(0)
    save_file(create_model(get_backbone("timm:test_resnet"), 3, None).state_dict(), tmp_path / "net.safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search_budget, "TRIAL_STEPS", 1)
    monkeypatch.setattr(recipe_search, "_nll", lambda trial: abs(trial["lr"] - 1e-4))
    images = class_tree(n=50)

    def run(*options: object, out: str = "out") -> dict:
        options = (*TINY, "--weights", "net.safetensors", "--data_dir", images, "--out", out, *options)
        main(folder.DATASET, list(map(str, options)))
        return json.loads(Path(out, "result.json").read_text())

    return run


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


def test_a_network_without_a_measured_rate_is_searched(search, capsys) -> None:
    result = search()
    assert [each["lr"] for each in result["recipe_search"]] == list(recipe_search.RATES["adamw"])
    assert (result["recipe"]["phases"][0]["lr"], result["recipe_source"]) == (1e-4, "searched")
    assert result["cost"]["train_seconds"] > sum(each["seconds"] for each in result["recipe_search"])
    assert (
        "learning rate 0.0001: of 0.001, 0.0003, 0.0001, 3e-05 the best on validation after 1 steps"
        in capsys.readouterr().err
    )
    other = search("--lr", 1e-4, out="same")
    assert Path("out/best.safetensors").read_bytes() == Path("same/best.safetensors").read_bytes()
    assert (other["recipe_search"], other["recipe_source"]) == (None, "options")
    assert search("--no_search", "--steps", 1, out="none")["recipe_source"] == "unmeasured"


def test_a_measured_rate_comes_with_its_evidence(search, monkeypatch, capsys) -> None:
    monkeypatch.setitem(recipes.MEASURED_LRS, "test_resnet", recipes.MeasuredLr(7, "resnet18"))
    result = search("--steps", 1)
    expected = "learning rate 0.0003, measured with resnet18: the best of 0.0001, 0.0003, 0.001 in the mean of 7 datasets, at 64 pixels"
    assert expected in capsys.readouterr().err
    assert (result["recipe_source"], result["recipe_search"], result["rate_evidence"]["datasets"]) == (
        "taken_over",
        None,
        7,
    )
    assert describe_recipe(result) == "rate taken over from a similar network"
    searched = search("--lr", "auto", out="searched")
    assert (searched["recipe_source"], searched["rate_evidence"]) == ("searched", None)


def test_a_recipe_names_what_options_changed(search) -> None:
    assert describe_recipe(search()) == "rate searched"
    options = ("--lr", 1e-4, "--batch_norm", "batch", "--label_smoothing", 0, "--weight_decay", 0.5, "--ema_decay", 0.9)
    assert (
        describe_recipe(search(*options, out="more"))
        == "rate by hand, batch statistics, EMA 0.9, weight decay 0.5, label smoothing 0"
    )


def test_few_validation_images_select_no_rate(search, class_tree, capsys) -> None:
    result = search("--data_dir", class_tree(n=5, base="few_images"), out="few")
    assert (result["recipe_search"], result["recipe_source"]) == (None, "unmeasured")
    err = capsys.readouterr().err
    assert (
        "3 validation images are too few to tell epochs apart" in err
        and "(unmeasured for this network and recipe), not searched: only 3 validation images; --lr X" in err
    )


def test_interrupted_searches_continue_and_resumed_runs_do_not_search(search, monkeypatch) -> None:
    def interrupted(n: int, *options: object, out: str = "out") -> list:
        tasks = interrupted_at(monkeypatch, n)
        with pytest.raises(SystemExit) as stop:
            search(*options, out=out)
        assert stop.value.code == 130
        return tasks

    interrupted(2)
    assert not Path("out").exists()
    tasks = interrupted(N_TRIALS + 1 - 1)
    assert tasks[-1].recipe.steps == 30, "one trial was cached; the run itself is interrupted"
    resumed = interrupted_at(monkeypatch, 0)
    main(folder.DATASET, ["--resume", "out"])
    assert [task.recipe for task in resumed] == [tasks[-1].recipe]
    picture(12345).save("images/ant/ant_0.jpg")
    assert len(interrupted(2, out="images_changed")) == 2, "other images of the same names"


def test_a_short_run_searches_what_it_can_afford(search) -> None:
    result = search("--steps", 12)
    assert [each["lr"] for each in result["recipe_search"]] == [1e-3, 3e-4]
    assert (result["recipe"]["phases"][0]["lr"], result["recipe_source"]) == (3e-4, "searched")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            ("--steps", 2),
            "learning rate 0.0003 (unmeasured for this network and recipe), not searched: the run is too short",
        ),
        (("--steps", 1, "--head_start", "random"), "not searched: the head starts at random"),
    ],
)
def test_no_search(options: tuple, reason: str, search, capsys) -> None:
    assert search(*options)["recipe_source"] == "unmeasured"
    assert reason in capsys.readouterr().err


def test_a_search_or_none(class_tree, tmp_path: Path) -> None:
    options = ("--data_dir", class_tree(), "--lr", "auto", "--no_search")
    assert "--no_search and --lr auto contradict" in mistake(tmp_path, "folder.py", *options)


def test_out_of_memory_names_the_smaller_batch(search, monkeypatch, capsys) -> None:
    def train(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("common.training.finetune.finetune", train)
    with pytest.raises(SystemExit) as stop:
        search()
    assert stop.value.code == 3 and "out of memory at a batch of 8: try -bs 4" in capsys.readouterr().err
