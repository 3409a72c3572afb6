"""Rankings over datasets and paired tests within a dataset."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fabricated_runs import build, fabricate, fabricate_grid, page_text

from common.metrics import classification
from common.recommend import ranking
from common.report.predictions import Predictions, load_predictions
from common.report.significance import _standings, paired_tests, rank_backbones
from common.report.summary import _cheaper
from common.statistics import posterior


def test_missing_cells_are_listed_and_not_ranked(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    html_text = page_text(runs)
    assert "Missing: swin_t on breakhis-40x." in html_text
    assert "| missing |" in (runs.parent / "out" / "tables.md").read_text()
    ranking = rank_backbones(build(runs)[0])
    assert (ranking.units, ranking.backbones, ranking.unranked) == (
        ("dtd", "eurosat"), ("resnet50", "convnext_tiny", "swin_t"), ("breakhis",),
    )  # fmt: skip
    assert "Not ranked because results are missing: breakhis." in html_text


def test_breakhis_is_one_dataset(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    fabricate(runs / "a", "breakhis-40x", "swin_t", 0, 0.6)
    section = build(runs)[0]
    ranking = rank_backbones(section)
    assert ranking.units == ("breakhis", "dtd", "eurosat")
    values = [d.cells["resnet50"].value for d in section.datasets if d.unit == "breakhis"]
    assert len(values) == 2 and ranking.scores[0, ranking.backbones.index("resnet50")] == pytest.approx(np.mean(values))
    assert rank_backbones(section, "other").units == ranking.units and rank_backbones(section, "nature") is None


def test_two_datasets_are_ranked_over_shared_backbones(tmp_path: Path) -> None:
    for dataset, names in {"dtd": ("a", "b", "c", "d"), "eurosat": ("a", "b")}.items():
        for name in names:
            fabricate(tmp_path / "runs" / f"{dataset}-{name}", dataset, name, 0, 0.9)
    ranking = rank_backbones(build(tmp_path / "runs")[0])
    assert (ranking.units, set(ranking.backbones), ranking.unranked) == (
        ("dtd", "eurosat"), {"a", "b"}, ("c", "d"),
    )  # fmt: skip


def test_paired_tests(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    (dataset,) = [d for d in build(runs)[0].datasets if d.name == "eurosat"]
    predictions = load_predictions(dataset)
    tests = paired_tests(dataset, predictions)
    assert tests.leader == "resnet50" and tests.images == 120
    for comparison in tests.comparisons:
        difference = dataset.cells[comparison.backbone].value - dataset.cells["resnet50"].value
        assert comparison.difference.difference == pytest.approx(difference)
        assert comparison.difference.low <= difference <= comparison.difference.high
    assert tests.seeds == 2 and 0 <= tests.standing.regret < 0.02
    assert tests.tied == tuple(
        comparison.backbone for comparison in tests.comparisons if comparison.difference.p > 0.05
    )
    assert "swin_t" not in tests.tied and tests.standing.p_best + sum(
        comparison.standing.p_best for comparison in tests.comparisons
    ) == pytest.approx(1)
    assert predictions.confusion["swin_t"].sum() == 240
    weighted = predictions.values("swin_t", "balanced_accuracy").mean()
    assert weighted == pytest.approx(dataset.cells["swin_t"].score("balanced_accuracy")[0])


@pytest.mark.parametrize("metric", ["top1", "balanced_accuracy", "auroc"])
def test_image_values_match_score_and_spread(metric: str) -> None:
    """Their mean is the score, and their standard error that of the resampled score."""
    rng = np.random.default_rng(0)
    labels = (rng.random(800) < 0.2).astype(int)
    logits = [np.round(8 * rng.normal(size=(800, 2)) + 8 * np.eye(2)[labels]) / 8 for _ in range(2)]
    predictions = Predictions(
        labels=labels,
        classes=("no", "yes"),
        correct={"a": np.stack([seed.argmax(1) == labels for seed in logits])},
        margins={"a": np.stack([seed[:, 1] - seed[:, 0] for seed in logits])},
        logits={},
        confusion={},
        untested={},
    )
    values = predictions.values("a", metric)
    scores = [classification.score(seed, labels)[metric] for seed in logits]
    assert values.mean(1) == pytest.approx(scores)
    drawn = []
    for _ in range(400):
        images = rng.integers(800, size=800)
        drawn.append(np.mean([classification.score(seed[images], labels[images])[metric] for seed in logits]))
    assert values.mean(0).std() / np.sqrt(800) == pytest.approx(np.std(drawn), rel=0.1)


def test_missing_predictions_are_reported(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    (runs / "eurosat-swin_t-1" / "test_logits.npy").unlink()
    (runs / "eurosat-convnext_tiny-0" / "test_logits.npy").write_bytes(b"\x93NUMPY, truncated")
    (dataset,) = [d for d in build(runs)[0].datasets if d.name == "eurosat"]
    assert load_predictions(dataset).untested == dict.fromkeys(
        ("convnext_tiny", "swin_t"), "predictions missing or damaged"
    )
    assert (
        "Not tested: convnext_tiny (predictions missing or damaged), swin_t (predictions missing or damaged)."
        in page_text(runs)
    )


def test_leader_without_predictions_is_not_replaced(tmp_path: Path) -> None:
    for missing in ("convnext_tiny", "resnet50"):
        for backbone, accuracy in (("convnext_tiny", 0.95), ("resnet50", 0.9), ("swin_t", 0.6)):
            fabricate(tmp_path / missing / "runs" / backbone, "dtd", backbone, 0, accuracy)
        (tmp_path / missing / "runs" / missing / "test_logits.npy").unlink()
    html_text = page_text(tmp_path / "convnext_tiny" / "runs")
    assert "convnext_tiny scores highest" in html_text
    assert "The lead cannot be tested: convnext_tiny (predictions missing or damaged)." in html_text
    html_text = page_text(tmp_path / "resnet50" / "runs")
    assert "As trained here it is significantly better than all others on the 120 test images." in html_text
    assert "Not tested: resnet50 (predictions missing or damaged)." in html_text


def test_practically_equivalent_is_one_definition() -> None:
    """That of the report and of `recommend`: near the best, whichever that is."""
    rng = np.random.default_rng(0)
    hard, n = rng.random(400), 400  # the same images are hard for all
    right = np.array([hard < 0.85, hard < 0.85, hard < 0.8]).astype(int)
    reported = _standings([row[None].astype(float) for row in right], None)
    ranked = {one.name: one for one in ranking.rank(list("abc"), right, np.ones(n, int), "top1", 0)}
    draws = posterior.posterior(right[:, None].astype(float))
    for name, standing, p in zip("abc", reported, posterior.p_equivalent(draws), strict=True):
        assert standing.p_equivalent == ranked[name].p_equivalent == p
        assert ranked[name].equivalent == (p >= posterior.EQUIVALENT)
    assert 0.9 > ranked["a"].p_equivalent > 0.7 > ranked["c"].p_equivalent  # the leader may not be the best


def test_a_cheaper_equivalent_comes_with_its_probability() -> None:
    macs = {"a": 4.0, "b": 1.0, "c": 2.0}
    found = _cheaper("a", {"b": 0.79, "c": 0.83}, macs)
    assert (
        found
        == "c is practically equivalent, at most 0.5 points worse with probability 0.83, at 50% of the multiply-adds."
    )
    assert "with a probability of 0.80 or more" in _cheaper("a", {"b": 0.79}, macs)


def _predictions(correct: np.ndarray, labels: np.ndarray, margins: np.ndarray | None = None) -> Predictions:
    """Of one seed of each backbone; `correct` and `margins`: (K, N)."""
    names = [f"net{k}" for k in range(len(correct))]
    by_name = {name: row[None] for name, row in zip(names, correct, strict=True)}
    of_margins = by_name if margins is None else {name: row[None] for name, row in zip(names, margins, strict=True)}
    return Predictions(
        labels=labels, classes=("a", "b"), correct=by_name, margins=of_margins, logits={}, confusion={}, untested={}
    )


def test_of_equal_backbones_the_leader_is_seldom_significantly_better() -> None:
    """It was chosen by its score: both p are corrected for all pairs."""
    rng, wrong = np.random.default_rng(0), {"bootstrap": 0, "McNemar": 0}
    for _ in range(40):
        correct = rng.normal(size=60) + 0.65 * rng.normal(size=(12, 60)) < 1.2
        tests = paired_tests(SimpleNamespace(metric="top1"), _predictions(correct, np.zeros(60, int)))
        wrong["bootstrap"] += len(tests.tied) < 11
        wrong["McNemar"] += min(one.mcnemar for one in tests.comparisons) <= 0.05
    assert wrong["bootstrap"] <= 5 and wrong["McNemar"] <= 3


def test_a_misplaced_image_does_not_decide_an_auroc() -> None:
    """Its points are hundredths, not fractions of a spread that vanishes near 1."""
    labels = np.repeat([0, 1], 100)
    margins = np.stack([labels + 0.1 * np.arange(200) / 200] * 2)
    margins[1, 100] = 0.043  # less than 13 of the other class
    tests = paired_tests(SimpleNamespace(metric="auroc"), _predictions(margins > 0.5, labels, margins))
    assert (
        tests.leader == "net0" and tests.metric == "auroc" and -0.002 < tests.comparisons[0].difference.difference < 0
    )
    assert tests.standing.p_best < 0.7 and tests.standing.regret > 0.0005
