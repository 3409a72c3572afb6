"""Scores of every class against scikit-learn and SciPy; thresholds for a recall."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest, norm
from sklearn import metrics as reference

from common.run.evaluation import score_with_intervals
from common.run.operating_point import RECALLS, operating_points, threshold_for
from common.run.per_class import class_scores, decision_scores, write_per_class
from common.run.predictions import RunPredictions


def case(classes: int, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes))
    logits[np.arange(n), labels] += 1
    return logits, labels


@pytest.mark.parametrize("classes", [2, 5])
def test_against_scikit_learn(classes: int) -> None:
    logits, labels = case(classes)
    found, p = class_scores(logits, labels), softmax(logits, axis=1)
    *expected, images = reference.precision_recall_fscore_support(labels, logits.argmax(1))
    expected.append([reference.roc_auc_score(labels == c, p[:, c]) for c in range(classes)])
    assert [row["images"] for row in found] == list(images)
    for metric, values in zip(("precision", "recall", "f1", "auroc"), expected, strict=True):
        assert [row[metric]["value"] for row in found] == pytest.approx(list(values), abs=1e-12)
        assert all(low < row[metric]["value"] < high for row in found for low, high in [row[metric]["interval"]])


def test_intervals_of_precision_and_recall_are_wilsons() -> None:
    logits, labels = case(3)
    predicted = logits.argmax(1)
    for c, row in enumerate(class_scores(logits, labels)):
        for metric, n in (("recall", (labels == c).sum()), ("precision", (predicted == c).sum())):
            hits = ((labels == c) & (predicted == c)).sum()
            assert row[metric]["interval"] == pytest.approx(
                tuple(binomtest(hits, n).proportion_ci(method="wilson")), abs=2e-4
            )


def test_what_is_not_defined_is_empty(tmp_path: Path) -> None:
    """No image of a class, none predicted as one, all of one."""
    logits = np.eye(4)[[0, 0, 1, 3]]
    rows = class_scores(logits, np.array([0, 0, 2, 0]))
    assert rows[0]["f1"]["value"] == pytest.approx(0.8) and rows[1]["recall"] is None and rows[1]["auroc"] is None
    assert rows[1]["f1"]["value"] == 0 and rows[2]["precision"] is None and rows[2]["recall"]["value"] == 0
    (one, other) = class_scores(np.eye(2)[[0, 0]], np.array([0, 0]))
    assert one["auroc"] is None and other == {"images": 0, "precision": None, "recall": None, "f1": None, "auroc": None}
    write_per_class(tmp_path, ("a", "=b", "c", "d"), rows)
    with open(tmp_path / "per_class.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["class"] for row in table] == ["a", "'=b", "c", "d"] and table[0]["images"] == "3"
    assert table[2]["precision"] == table[2]["precision_low"] == "" and table[2]["recall"] == "0"
    assert float(table[0]["recall_low"]) == pytest.approx(rows[0]["recall"]["interval"][0], abs=1e-6)


def test_groups_widen_the_intervals() -> None:
    """Every image five times: the intervals are those of the images."""
    logits, labels = case(3, 200)
    (once, *_), (grouped, *_) = (
        class_scores(np.repeat(logits, n, 0), np.repeat(labels, n), np.repeat(np.arange(200), n) if n > 1 else None)
        for n in (1, 5)
    )
    for metric in ("precision", "recall", "f1", "auroc"):
        assert grouped[metric]["interval"] == pytest.approx(once[metric]["interval"], abs=0.01)


@pytest.mark.parametrize(("n", "rate"), [(30, 0.2), (400, 0.1)])
def test_the_interval_of_f1_covers(n: int, rate: float) -> None:
    rng, covered = np.random.default_rng(0), []
    expected = 2 * 0.35 / (0.35 + rate / 2 + 0.5)
    for _ in range(400):
        positive = rng.random(n) < 0.5
        predicted = np.where(positive, rng.random(n) < 0.7, rng.random(n) < rate)
        low, high = decision_scores(predicted, positive)["f1"]["interval"]
        covered.append(low <= expected <= high)
    assert 0.92 <= np.mean(covered) <= 0.985


@pytest.mark.parametrize(("auroc", "n"), [(0.8, 5), (0.95, 5), (0.99, 10)])
def test_the_interval_of_auroc_covers_with_few_images_of_a_class(auroc: float, n: int) -> None:
    """DeLong's variance alone covers in 74 to 86 % of samples."""
    rng, shift, covered = np.random.default_rng(0), norm.ppf(auroc) * 2**0.5, []
    labels = np.array([1] * n + [0] * 200)
    for _ in range(400):
        scores = rng.normal(shift * labels)
        low, high = class_scores(np.stack([-scores, scores], 1), labels)[1]["auroc"]["interval"]
        covered.append(low <= auroc <= high)
    assert np.mean(covered) >= 0.93


def predictions(n: int, classes: tuple[str, ...] = ("cat", "dog"), groups=None) -> RunPredictions:
    logits, labels = case(len(classes), n)
    return RunPredictions(tuple(map(str, range(n))), labels, classes, logits, groups)


def test_thresholds_reach_the_recall_on_validation() -> None:
    val, test = predictions(150), predictions(300)
    points = operating_points(val, test, temperature=2.0)
    assert [(p["class"], p["recall"]) for p in points] == [(c, r) for c in ("cat", "dog") for r in RECALLS]
    for point in points:
        c = val.classes.index(point["class"])
        positive, p = val.labels == c, softmax(val.logits / 2, axis=1)[:, c]
        assert (p[positive] >= point["threshold"]).mean() >= point["recall"] > (p[positive] > point["threshold"]).mean()
        decided = softmax(test.logits / 2, axis=1)[:, c] >= point["threshold"]
        assert point["test"]["recall"]["value"] == pytest.approx(reference.recall_score(test.labels == c, decided))
        assert point["test"]["precision"]["value"] == pytest.approx(
            reference.precision_score(test.labels == c, decided)
        )
        assert point["val"]["recall"]["value"] >= point["recall"]
    assert operating_points(predictions(60, ("a", "b", "c")), predictions(60, ("a", "b", "c")), None) is None


def test_a_recall_that_is_a_count_of_images_is_exact() -> None:
    """0.95 of 20 images are 19, whatever floating point says; 1 is all of them."""
    logits = np.stack([np.zeros(20), np.arange(20.0)], 1)
    val = RunPredictions(("",) * 20, np.ones(20, int), ("cat", "dog"), logits)
    p = softmax(logits, axis=1)[:, 1]
    assert [threshold_for(val, 1, r, None) for r in (0.95, 1.0, 0.05)] == pytest.approx([p[1], p[0], p[19]])


def test_two_classes_have_the_interval_of_the_headline() -> None:
    logits, labels = case(2)
    headline = score_with_intervals(logits, labels, seed=0)["auroc"]
    assert [row["auroc"]["interval"] for row in class_scores(logits, labels)] == [
        pytest.approx(headline["interval"])
    ] * 2
