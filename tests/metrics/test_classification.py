"""Scores and intervals against scikit-learn and torchmetrics."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn import metrics as reference

from common.metrics import classification
from common.metrics.classification import effective_sample_size, image_scores, standard_error
from common.statistics import intervals


def case(classes: int, n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=n)
    logits = rng.normal(size=(n, classes)).round(1)  # rounded: ties
    logits[np.arange(n), labels] += 1
    return logits, labels


@pytest.mark.parametrize("classes", [2, 5, 12])
@pytest.mark.parametrize("weighted", [False, True])
def test_against_scikit_learn(classes: int, weighted: bool) -> None:
    logits, labels = case(classes)
    weights = np.random.default_rng(1).integers(0, 4, len(labels)).astype(float) if weighted else np.ones(len(labels))
    ours = classification.scorer(logits, labels)(weights)
    predicted, p = logits.argmax(1), softmax(logits, axis=1)
    expected = {
        "top1": reference.accuracy_score(labels, predicted, sample_weight=weights),
        "macro_f1": reference.f1_score(labels, predicted, average="macro", sample_weight=weights),
        "balanced_accuracy": reference.balanced_accuracy_score(labels, predicted, sample_weight=weights),
        "nll": reference.log_loss(labels, p, sample_weight=weights),
    }
    assert {name: ours[name] for name in expected} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 5, 12])
def test_auroc_against_scikit_learn(classes: int) -> None:
    logits, labels = case(classes)
    p = softmax(logits, axis=1)
    columns = [1] if classes == 2 else range(classes)
    one_vs_rest = [reference.roc_auc_score(labels == c, p[:, c]) for c in columns]
    assert classification.score(logits, labels)["auroc"] == pytest.approx(np.mean(one_vs_rest), abs=1e-9)


@pytest.mark.parametrize(("classes", "n"), [(2, 400), (12, 400), (3, 60)])
def test_auroc_interval_is_that_of_the_bootstrap(classes: int, n: int) -> None:
    """Both ends within a tenth of its width."""
    logits, labels = case(classes, n)
    rng = np.random.default_rng(1)
    samples = rng.integers(n, size=(800, n))
    draws = [classification.score(logits[i], labels[i])["auroc"] for i in samples]
    p = softmax(logits, axis=1)
    low, high = intervals.of_auroc(classification.auroc_values(p, labels), labels)
    assert (low, high) == pytest.approx(np.quantile(draws, (0.025, 0.975)), abs=0.1 * (high - low))


def test_auroc_needs_an_image_of_every_class() -> None:
    logits, labels = case(3)
    assert "auroc" not in classification.score(logits[labels > 0], labels[labels > 0])


def test_top5_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(500, 12)), rng.integers(12, size=500)
    assert classification.score(logits, labels)["top5"] == pytest.approx(
        reference.top_k_accuracy_score(labels, logits, k=5)
    )
    assert "top5" not in classification.score(*case(5)) and "top5" in classification.score(*case(6))


def test_ece_against_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_calibration_error

    logits, labels = case(7, 1000)
    theirs = multiclass_calibration_error(
        torch.tensor(softmax(logits, axis=1)), torch.tensor(labels), num_classes=7, n_bins=classification.ECE_BINS
    )
    assert classification.score(logits, labels)["ece"] == pytest.approx(theirs.item(), abs=1e-6)


def test_auroc_is_left_out_if_undefined() -> None:
    logits, labels = case(4)
    labels[labels == 3] = 0
    assert "auroc" not in classification.score(logits, labels)


def test_confusion() -> None:
    logits, labels = case(5)
    assert (classification.confusion(logits, labels) == reference.confusion_matrix(labels, logits.argmax(1))).all()


def test_bootstrap_repeats() -> None:
    logits, labels = case(3, 100)
    one, two = (intervals.bootstrap(classification.scorer(logits, labels), 100, seed=5, resamples=50) for _ in range(2))
    assert one == two and all(low <= high for low, high in one.values())


def test_effective_sample_size() -> None:
    even, odd = np.arange(100) % 2, np.array([0] * 90 + [1] * 10)
    assert effective_sample_size("top1", odd) == 100 and effective_sample_size("auroc", even) == pytest.approx(100)
    assert effective_sample_size("balanced_accuracy", odd) == pytest.approx(36)
    rng = np.random.default_rng(0)
    means = [(rng.random(90) < 0.8).mean() / 2 + (rng.random(10) < 0.8).mean() / 2 for _ in range(20_000)]
    assert np.std(means) == pytest.approx(math.sqrt(0.8 * 0.2 / 36), rel=0.03)


def test_standard_error() -> None:
    """The textbook's for many images; never 0, even of a fraction of 1."""
    assert standard_error(0.9, 10_000) == pytest.approx(math.sqrt(0.9 * 0.1 / 10_000), rel=1e-3)
    assert 0.01 < standard_error(1.0, 70) < 0.02


def test_scores_per_image_have_the_mean_and_the_variance_of_the_score() -> None:
    """Of balanced accuracy for given class frequencies: the mean of the variances of the recalls over C^2."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3], (90, 30, 12))  # class 2 has no image
    correct = rng.random((4, 132)) < np.array([0.9, 0.6, 0, 0.5])[labels]
    found = image_scores(correct, labels, "balanced_accuracy")
    for row, right in zip(found, correct, strict=True):
        recalls = np.array([right[labels == c].mean() for c in (0, 1, 3)])
        variance = sum(r * (1 - r) / n for r, n in zip(recalls, (90, 30, 12), strict=True)) / 9
        assert row.mean() == pytest.approx(recalls.mean()) and row.var() / 132 == pytest.approx(variance)
        assert image_scores(right, labels, "balanced_accuracy") == pytest.approx(row)
    assert np.array_equal(image_scores(correct, labels, "top1"), correct)
    assert image_scores(np.ones(132, bool), labels, "balanced_accuracy") == pytest.approx(1)
