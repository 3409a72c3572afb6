"""The ranking of backbones, and its uncertainty."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.proportion import proportion_confint

from common.recommend import ranking
from common.statistics import paired


def test_ranking_with_uncertainty() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 400)
    predicted = np.where(rng.random((4, 400)) < [[0.7], [0.9], [0.89], [0.5]], labels, (labels + 1) % 3)
    standings = ranking.rank(list("abcd"), predicted, labels, "top1", 0)
    assert [one.name for one in standings[:2]] in (["b", "c"], ["c", "b"]) and standings[3].name == "d"
    assert sum(one.p_best for one in standings) == pytest.approx(1)
    assert [one.tied for one in standings] == [True, True, False, False]
    correct = dict(zip("abcd", predicted == labels, strict=True))
    for one in standings:
        other = paired.paired_bootstrap(correct[standings[0].name], correct[one.name])
        assert one.behind == pytest.approx(other.difference)
        # corrected for six pairs: 2.6 instead of 1.96 standard errors
        low, high = one.behind_interval
        if one.behind:
            assert high - low == pytest.approx(2.6 / 1.96 * (other.high - other.low), rel=0.1)
    balanced = ranking.rank(list("abcd"), predicted, labels, "balanced_accuracy", 0)
    for one in balanced:
        assert one.score == pytest.approx(balanced_accuracy_score(labels, predicted["abcd".index(one.name)]))
    same = ranking.rank(["x", "y"], predicted[:1].repeat(2, 0), labels, "top1", 0)
    assert same[1].tied and [one.p_best for one in same] == pytest.approx([0.5, 0.5], abs=0.02)
    assert 0.8 < same[1].p_equivalent < 0.9 and same[1].regret > 0.001  # one training each: another may differ
    doubled = ranking.rank(list("abcd"), predicted.repeat(4, 1), labels.repeat(4), "top1", 0, np.arange(400).repeat(4))
    assert doubled[0].interval == pytest.approx(standings[0].interval, abs=0.005)  # copies add no information


def test_intervals_where_all_images_are_right() -> None:
    """Wilson's for the number of images; of a mean of classes, for that of the rare ones."""
    labels = np.array([0] * 200 + [1] * 4)
    (top1,) = ranking.rank(["a"], labels[None], labels, "top1", 0)
    (balanced,) = ranking.rank(["a"], labels[None], labels, "balanced_accuracy", 0)
    assert top1.interval == pytest.approx(proportion_confint(204, 204, method="wilson"))
    assert balanced.interval == pytest.approx(proportion_confint(15.7, 15.7, method="wilson"), abs=0.001)
    one_wrong = np.where(np.arange(204) == 203, 0, labels)[None]
    (balanced,) = ranking.rank(["a"], one_wrong, labels, "balanced_accuracy", 0)
    assert balanced.score == 0.875
    assert balanced.interval == pytest.approx(proportion_confint(0.875 * 28 / 3, 28 / 3, method="wilson"))


def test_the_same_few_images_right_is_no_certain_difference() -> None:
    """0.5 in each of the four cells: the difference of 4 images, none of them discordant, has a variance of 1 / (4 + 2)^2."""
    labels = np.ones(4, int)
    first, second = ranking.rank(["a", "b"], labels[None].repeat(2, 0), labels, "top1", 0)
    assert first.behind_interval == (0, 0)
    assert second.behind_interval == pytest.approx((-1.96 / 6, 1.96 / 6), abs=1e-4)


def test_what_is_not_distinguishable_has_an_interval_with_zero() -> None:
    """Although p is corrected for all pairs, and an interval of 95 % alone may exclude 0."""
    rng, corrected = np.random.default_rng(0), 0
    for seed in range(8):
        labels = np.zeros(rng.integers(20, 300), int)
        skill = rng.uniform(0.7, 0.9, (6, 1))
        predicted = (rng.random((6, len(labels))) > skill).astype(int)
        first, *others = ranking.rank(list("abcdef"), predicted, labels, "top1", seed)
        assert first.tied and first.behind_interval == (0, 0)
        for one in others:
            low, high = one.behind_interval
            assert one.tied == (low <= 0) and low <= one.behind <= high
            corrected += one.tied and one.behind > 1.96 * one.behind_error
            assert high - low > 2 * 1.95 * one.behind_error
    assert corrected, "an interval alone would exclude 0"


def test_of_equal_backbones_the_first_is_seldom_significantly_better() -> None:
    rng, labels, wrong = np.random.default_rng(0), np.zeros(60, int), 0
    for seed in range(40):
        predicted = (rng.normal(size=60) + 0.65 * rng.normal(size=(12, 60)) > 1.2).astype(int)
        wrong += not all(one.tied for one in ranking.rank(list("abcdefghijkl"), predicted, labels, "top1", seed))
    assert wrong <= 5
