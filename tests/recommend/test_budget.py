"""Decisive features are found; under a budget, successive halving drops the others."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from folders import SMALL, TINY, class_folders, noise, run_recommend

import folder
from common.cli.parse import make_config, parse
from common.models import build
from common.recommend import cost_model, dataset, halving, probe, recommend
from common.transfer.features import Features

NO_RACE = ("--tolerance", "100")  # probes have half of the budget
STOPPED = SimpleNamespace(perf_counter=lambda: 0.0)


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are not measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})


def fake_features(good: str, images_per_second: float = 100.0):
    """Noise, in which only the features of `good` separate the classes."""

    def extract(extractor, images, rows, native) -> Features:
        row = extractor.backbone
        rng = np.random.default_rng(len(row.name))
        labels = np.asarray([Path(images[i]).parent.name == "b" for i in rows])
        values = rng.normal(size=(len(rows), 16)).astype(np.float32)
        values[:, 0] += 10.0 * labels * (row.name == good)
        return Features(values, images_per_second)

    return extract


def slow_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second for each image of a round."""
    scores = probe._scores

    def slow(values: np.ndarray, *args: object) -> dict:
        return scores(values, *args) | {"scoring_seconds": 0.5 * len(values)}

    monkeypatch.setattr(probe, "_scores", slow)


def test_decisive_features_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    data = class_folders("noise", {"a": 30, "b": 30}, noise)
    for good in TINY:
        monkeypatch.setattr(probe, "cached_features", fake_features(good))
        first, *others = run_recommend("--data_dir", data, "-model", *TINY, *SMALL)["backbones"]
        assert first["backbone"] == good and first["score"] == 1 and first["knn"] > 0.8
        assert all(first[score] > max(row[score] for row in others) for score in ("logme", "h_score"))
        assert not any(row["tied"] for row in others)


def test_a_budget_drops_the_worst_but_two(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    data = class_folders("noise", {"a": 200, "b": 200}, noise)
    monkeypatch.setattr(probe, "cached_features", fake_features(TINY[1], images_per_second=1.0))
    monkeypatch.setattr(recommend, "time", STOPPED)
    slow_scores(monkeypatch)
    options = ("--data_dir", data, "-model", *TINY, *SMALL, *NO_RACE)
    answer = run_recommend(*options, "--budget", "24m")  # after 40 images, 3 x (280 + 280 + costs) s to go
    first, second = (row["backbone"] for row in answer["backbones"])
    (dropped,) = answer["dropped"]
    assert first == TINY[1] and {first, second, dropped["name"]} == set(TINY)
    assert dropped["images"] == 40 and answer["images"] == 320 and answer["race"]["backbones"]
    printed = capsys.readouterr()
    assert "is dropped: probe top-1" in printed.err and "2 of 3 backbones were compared on 320 of 320 " in printed.out
    assert answer["full_comparison"]["budget_seconds"] == pytest.approx(2 * (280 + 280 + halving.COST_IMAGES))
    assert "Only one candidate" not in printed.out
    answer = run_recommend(*options, "--budget", "20h")
    assert len(answer["backbones"]) == 3 and answer["full_comparison"] is None


def test_none_is_dropped_where_that_buys_no_round(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data = class_folders("noise", {"a": 200, "b": 200}, noise)
    monkeypatch.setattr(probe, "cached_features", fake_features(TINY[1], images_per_second=0.1))
    monkeypatch.setattr(recommend, "time", STOPPED)
    slow_scores(monkeypatch)
    options = ("--data_dir", data, "-model", *TINY, *SMALL, *NO_RACE)
    answer = run_recommend(*options, "--budget", "10m")  # a second round would take 2 x (400 + 40) seconds
    assert answer["images"] == 40 and not answer["dropped"] and len(answer["backbones"]) == 3
    assert answer["full_comparison"]["budget_seconds"] == pytest.approx(2 * 3 * (2800 + 280))
    printed = capsys.readouterr()
    assert "the budget allows only 40 of 320 images" in printed.err and "dropped" not in printed.err
    assert "3 of 3 backbones were compared on 40 of 320 images; all on all take about --budget 308m." in printed.out


def test_two_are_compared_after_the_budget(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """The third is left out; its cost, and those of the others, are not measured."""
    data = class_folders("noise", {"a": 20, "b": 20}, noise)
    options = ("--data_dir", data, "-model", *TINY, *SMALL)
    now, extract = 0.0, fake_features(TINY[1])

    def slow(*args) -> Features:
        nonlocal now
        now += 100
        return extract(*args)

    monkeypatch.setattr(probe, "cached_features", slow)
    monkeypatch.setattr(recommend, "time", SimpleNamespace(perf_counter=lambda: now))
    answer = run_recommend(*options, *NO_RACE, "--budget", "100s")
    for row in answer["backbones"]:
        assert row["parameters"] > 0 and row["macs"] > 0
        assert row["training_seconds"] is None and row["peak_memory_bytes"] is None
    assert answer["left_out"] == {TINY[2]: "the budget ended before its turn"} and answer["race"]
    printed = capsys.readouterr().out
    assert "-: not measured" in printed and "2 of 3 backbones were compared on 32 of 32 images" in printed
    assert all(row["training_seconds"] for row in run_recommend(*options)["backbones"])
    answer = run_recommend(*options, *NO_RACE, "--budget", "100s")
    assert all(row["training_seconds"] for row in answer["backbones"]), "the cache takes no time"


def test_a_cost_without_step_time_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(measure: bool) -> cost_model.Cost:
        workload = cost_model.Workload(
            row=build.get_backbone(TINY[0]), classes=2, batch_size=8, image_size=(32, 32), device=torch.device("cpu"),
            device_name="a machine", precision="fp32",
        )  # fmt: skip
        return cost_model.estimate(workload, measure)

    def out_of_memory(*_: object) -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(cost_model, "step_times", out_of_memory)
    assert cost(measure=True).step_seconds is None
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})
    assert cost(measure=False).step_seconds is None
    assert cost(measure=True).step_seconds == cost(measure=False).step_seconds == 0.5


def test_rounds_of_large_groups() -> None:
    """Parts without new images, or of too few groups, are no rounds."""
    groups = np.array([0] * 6 + [1] * 3 + [2] * 3 + [3])
    parts = [[0, 1, 2], [0, 1, 2], [0, 1, 2, 6, 7], [0, 1, 2, 6, 7, 9], [*range(13)]]
    labels = np.zeros(13, int)
    rounds = dataset._rounds(parts, labels, groups, 0)
    new = [one.positions[-one.n_new :].tolist() for one in rounds]
    assert new == [[0, 1, 2, 6, 7, 9], [3, 4, 5, 8, 10, 11, 12]]
    assert [one.n_new for one in dataset._rounds(parts, labels, None, 0)] == [3, 2, 1, 7]


def test_the_folds_of_all_images_do_not_depend_on_the_budget() -> None:
    """So the score of a probe does not, either."""
    labels, groups = np.arange(60) % 3, np.arange(60) // 4
    parts = [[*range(0, 60, 5)], [*range(0, 60, 5), 1, 2], [*range(60)]]
    for of in (None, groups):
        last, (whole,) = dataset._rounds(parts, labels, of, 0)[-1], dataset._rounds(parts[-1:], labels, of, 0)
        assert last.positions.tolist() != whole.positions.tolist() and len(last) == len(whole)
        assert last.folds[np.argsort(last.positions)].tolist() == whole.folds.tolist()


def test_groups_under_a_budget() -> None:
    """Three patients have three quarters of the images."""
    data = class_folders("patients", {"a": 200, "b": 200}, noise)
    for label in "ab":
        for path in Path(data, label).glob("*.png"):
            i = int(path.stem.split("_")[1])
            path.rename(path.with_name(f"p{i // 50 if i < 150 else i // 10}_{i}.png"))
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL, "--group_by", r"/(p\d+)_", "--budget", "10h", *NO_RACE)
    assert run_recommend(*options)["groups"] >= 3


def test_a_cost_on_the_cpu_is_measured_with_few_images(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = cost_model.Workload(
        row=build.get_backbone(TINY[0]), classes=2, batch_size=64, image_size=(32, 32), device=torch.device("cpu"),
        device_name="a machine", precision="fp32",
    )  # fmt: skip
    batches: list[tuple[int, ...]] = []

    def time(build: object, device: object, batch: tuple[int, ...], *_: object) -> dict:
        batches.append(batch)
        return {"step_seconds": 0.5}

    grown = (
        16 * cost_model.estimate(workload, measure=False).parameters + 1000
    )  # the state, and 1,000 bytes of 8 images
    peaks = iter((5_000, 5_000 + grown))
    monkeypatch.setattr(cost_model, "step_times", time)
    monkeypatch.setattr(cost_model.cost, "peak_memory", lambda device: next(peaks))
    found = cost_model.estimate(workload, measure=True)
    assert batches == [(8, 3, 32, 32)] and found.step_seconds == 4.0
    assert found.peak_memory_bytes == 5_000 + grown + 7 * 1000


@pytest.mark.parametrize(
    ("model", "n_val", "seconds"),
    [
        ("efficientnet_lite0", 9, 2.0 + 0.9),
        ("efficientnet_lite0", 10, 2.0 + 500 * 3.0 + 501 * 1.0),
        ("resnet50", 10, 2.0 + 500 * 1.25 * 3.0 + 501 * 1.0),  # its rate is searched
    ],
)
def test_training_of_hardly_any_images_takes_a_probe(model: str, n_val: int, seconds: float, class_tree) -> None:
    """As in a run, see `recipes.for_split`; else 500 epochs of one step."""
    sheets = (folder.DATASET,)
    config = make_config(sheets, parse(sheets, ["--data_dir", str(class_tree()), "-model", model]))
    recipe = cost_model.default_recipe(config, classes=3, n_train=14, n_val=n_val)
    cost = cost_model.Cost(parameters=1, macs=1, step_seconds=3.0, peak_memory_bytes=1)
    estimate = partial(cost_model.training_seconds, config, recipe, start=2.0, n_val=n_val, images_per_second=10.0)
    assert estimate(cost=cost) == pytest.approx(seconds)
    assert estimate(cost=replace(cost, step_seconds=None)) == (None if recipe.steps else pytest.approx(seconds))
