"""The benchmarks of the answer read which images a run has right, and recover what they measure from simulated runs."""

import base64
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from tiny import batches

from benchmarks import (
    default_runs,
    finetuned_order,
    frozen_scores,
    race,
    race_calibration,
    recipes,
    seed_spread,
    short_runs,
)
from common.recommend.finetuned_order import MEASURED

NETWORKS = ("efficientnet_lite0", "timm:mobilenetv2_100", "torchvision:squeezenet1_1")
N = 403


def rows(with_bits: bool = True) -> list[dict]:
    """Three networks, the second the best after fine-tuning and the worst probe."""
    found, easiness = [], np.random.default_rng(0).normal(size=N)
    for k, name in enumerate(NETWORKS):
        for steps, accuracy in ((0, 0.6 - 0.1 * (k == 1)), (25, 0.6), (300, 0.8 + 0.1 * (k == 1))):
            right = np.argsort(np.argsort(easiness)) < accuracy * N
            packed = base64.b64encode(np.packbits(right).tobytes()).decode()
            row = {"network": name, "data": "some", "config": default_runs.PROBE, "seed": 0, "seconds": steps / 10}
            if steps:
                row["config"] = default_runs.RECIPE | {"steps": steps}
            for part in ("val", "test"):
                row |= {f"{part}_top1": round(right.mean(), 5)}
                if with_bits or (k, steps) != (0, 300):
                    row |= {f"{part}_right": packed}
            found.append(row)
    other_recipe = found[-1] | {"config": found[-1]["config"] | {"lr": 1e-3}, "test_top1": 1.0}
    return [*found, other_recipe]


def load(path: Path, found: list[dict]) -> default_runs.Dataset:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in found))
    return default_runs.load(path)[0]


def test_few_images_are_another_dataset_with_the_same_name(tmp_path: Path) -> None:
    few = [row | {"config": row["config"] | {"shots": 5}} for row in rows()]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*few, *rows()]))
    datasets = default_runs.load(path)
    assert [(data.title, data.truth.argmax()) for data in datasets] == [("some", 1), ("some, 5 per class", 1)]
    others = [pair | {"dataset": "others", "finetuned": pair["probe"]} for pair in finetuned_order.own(datasets)]
    found = finetuned_order.predictor([*finetuned_order.own(datasets), *others], ["probe"])
    # each is predicted from the other name alone, where probes say the opposite
    assert all(one["regret"] > 0 for one in found["datasets"])


@pytest.mark.parametrize("with_bits", [True, False])
def test_the_images_of_a_run(tmp_path: Path, with_bits: bool) -> None:
    data = load(tmp_path / "rows.jsonl", rows(with_bits))
    assert data.names == list(NETWORKS) and data.steps == [25, 300] and data.truth.argmax() == 1
    right, same = (data.right((name, 300, 0), "val", np.random.default_rng(0)) for name in NETWORKS[::2])
    assert len(right) == N and right.mean() == pytest.approx(0.8, abs=0.002)
    assert np.corrcoef(right, same)[0, 1] > (0.99 if with_bits else 0.3)


def test_a_race_finds_what_the_probe_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "REPEATS", 1)
    data = load(tmp_path / "rows.jsonl", rows())
    regret = race.choices(data, [], MEASURED)["regret"]
    assert regret["probe"] == regret["top1"] == pytest.approx(10, abs=0.3) and "knn" not in regret
    result = race.replay(data, MEASURED, 1e6, 0)
    assert result.regret.argmin() == 1 and {run.candidate for run in result.runs} >= {0, 1}


@pytest.mark.parametrize("sigma_a", [0.0, 3.0])
def test_the_spread_over_seeds_beyond_the_images_is_recovered(sigma_a: float) -> None:
    rng, found = np.random.default_rng(0), {}
    names = [str(k) for k in range(40)]
    for name, seed in itertools.product(names, range(3)):
        right = rng.random(2000) < 0.8 + rng.normal(0, sigma_a / 100)
        packed = base64.b64encode(np.packbits(right).tobytes()).decode()
        found[name, 300, seed] = {"test_top1": round(right.mean(), 5), "test_right": packed}
    one = seed_spread.measure(default_runs.Dataset("some", None, names, [300], found))
    assert one["sigma_a"] == pytest.approx(sigma_a, abs=0.5) and one["spread"][1] > max(0.5, 0.7 * sigma_a)


def test_the_change_between_lengths_is_recovered() -> None:
    rng = np.random.default_rng(0)
    changes = [rng.normal(0, (2**2 * 1.5 + 0.5) ** 0.5, 6) for _ in range(40)]
    centred = [c - c.mean() for c in changes]
    median, log_sd = short_runs.prior([short_runs.log_likelihood(c, 0.5, 1.5) for c in centred])
    assert median == pytest.approx(2, rel=0.15) and log_sd < 0.45


def test_a_simulated_race_is_sure_only_of_what_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Candidates that differ by five points (SD), or by nothing."""
    monkeypatch.setattr(race_calibration, "SECONDS", (160,))
    p_best, lost, stated = {}, {}, {}
    for spread in (5.0, 0.01):
        monkeypatch.setattr(race_calibration, "SPREAD", {4: spread})
        rows = [race_calibration.simulate(4, "as assumed", seed) for seed in range(4)]
        p_best[spread] = np.mean([row["answers"][0]["p_best"][row["best"]] for row in rows])
        lost[spread], stated[spread] = ([row["answers"][0][name] for row in rows] for name in ("lost", "stated"))
    assert p_best[5.0] > 0.5 and p_best[0.01] < 0.35
    assert np.median(lost[5.0]) == 0 and min(stated[0.01]) > max(lost[0.01])


def test_frozen_scores_of_train_and_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.NETWORKS, "timm:test_resnet", "imagenet")
    monkeypatch.setattr(recipes.weights, "load_weights", lambda *_, offline: (None,))
    parts = {"train": batches(40), "val": batches(20)}
    monkeypatch.setattr(recipes, "load", lambda *_: (parts, 2, None))
    x, y, classes = frozen_scores.features("timm:test_resnet", "some", recipes.Form(shots=5), Path())
    assert len(x) == len(y) == 60 and classes == 2
    assert frozen_scores.scores(x, y, classes)["knn"] > 0.9
