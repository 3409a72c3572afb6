"""Intervals and comparisons of images in groups: coverage by simulation, and agreement with those of images."""

import numpy as np
import pytest
from scipy.special import ndtr

from common.metrics import classification
from common.statistics import intervals, paired, posterior


def grouped_hits(
    rng: np.random.Generator, accuracy: float, n_groups: int, size: int = 10, alike: float = 0.5
) -> np.ndarray:
    """(N,) 0 or 1 of images in groups of `size`; `alike` is the correlation within a group."""
    spread = 1 / alike - 1
    easy = rng.beta(accuracy * spread, (1 - accuracy) * spread, n_groups)
    return (rng.random((n_groups, size)) < easy[:, None]).ravel().astype(float)


@pytest.mark.parametrize("n_groups, accuracy", [(4, 0.9), (10, 0.7), (100, 0.95)])
def test_intervals_over_groups_of_ten_cover(n_groups: int, accuracy: float) -> None:
    """Of 300 samples; the Monte Carlo error (1 sd) is 1.3 points."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(n_groups), 10)
    held = {"groups": 0, "images": 0}
    for seed in range(300):
        hits = grouped_hits(rng, accuracy, n_groups)

        def scores(weights: np.ndarray, hits: np.ndarray = hits) -> dict[str, float]:
            return {"top1": weights @ hits / weights.sum()}

        found = {
            "groups": intervals.bootstrap(scores, len(hits), seed, resamples=100, groups=groups)["top1"],
            "images": intervals.bootstrap(scores, len(hits), seed, resamples=100)["top1"],
        }
        for name, (low, high) in found.items():
            held[name] += low <= accuracy <= high
    assert held["groups"] >= 0.92 * 300 and held["images"] < 0.75 * 300, held


@pytest.mark.parametrize("sizes", [(2, 2), (3, 3), (2, 8), (3, 3, 3)])
@pytest.mark.parametrize("separation", [0, 2])
def test_the_interval_of_an_auroc_of_few_clips_covers(sizes: tuple[int, ...], separation: float) -> None:
    """`sizes`: clips of each class. The AUROC of all images is that of two normal distributions."""
    rng, n_clips, n_classes, held = np.random.default_rng(0), sum(sizes), len(sizes), 0
    labels = np.repeat(np.repeat(np.arange(n_classes), sizes), 12)
    groups = np.repeat(np.arange(n_clips), 12)
    true = ndtr(separation / 2**0.5)
    for _ in range(200):
        noise = rng.normal(size=(n_clips, n_classes))[groups] + rng.normal(size=(len(labels), n_classes))
        scores = separation * np.eye(n_classes)[labels] + noise / 2**0.5
        if n_classes == 2:  # only the second column counts: its distance is that of the difference
            scores = np.stack([-scores[:, 1], scores[:, 1]], 1)
        low, high = intervals.of_auroc(classification.auroc_values(scores, labels), labels, groups=groups)
        held += low <= true <= high
    assert held >= 0.92 * 200


def test_a_class_of_one_clip_has_no_interval() -> None:
    labels, groups = np.repeat([0, 1], 12), np.repeat([0, 1, 2], (12, 6, 6))
    values = classification.auroc_values(np.random.default_rng(0).random((24, 2)), labels)
    assert intervals.of_auroc(values, labels, groups=groups) is None


def test_the_difference_of_two_classifiers_on_few_groups_covers() -> None:
    rng, groups, held = np.random.default_rng(0), np.repeat(np.arange(6), 10), 0
    for seed in range(200):
        a, b = grouped_hits(rng, 0.8, 6), grouped_hits(rng, 0.8, 6)
        found = paired.paired_bootstrap(a, b, seed, 1000, groups=groups)
        held += found.low <= 0 <= found.high
    assert held >= 0.92 * 200


def test_comparisons_of_groups_cover() -> None:
    """Two classifiers of equal accuracy: the interval of their difference holds 0, and P(best) is not certain."""
    rng, groups, n = np.random.default_rng(0), np.repeat(np.arange(60), 10), 150
    held = {"groups": 0, "images": 0}
    rejected, certain = 0, 0
    for seed in range(n):
        a, b = grouped_hits(rng, 0.8, 60), grouped_hits(rng, 0.8, 60)
        for name, each in (("groups", groups), ("images", None)):
            found = paired.paired_bootstrap(a, b, seed, 400, groups=each)
            held[name] += found.low <= 0 <= found.high
        rejected += paired.mcnemar(a == 1, b == 1, groups) < 0.05
        if seed < 40:
            p = posterior.p_best(posterior.posterior(np.stack([a, b])[:, None], seed, groups))
            certain += p.max() > 0.95
    assert held["groups"] >= 0.92 * n and held["images"] < 0.75 * n, held
    assert rejected <= 0.1 * n and certain <= 4


def test_groups_of_one_are_images() -> None:
    rng = np.random.default_rng(0)
    a, b, single = rng.random(200), rng.random(200), np.arange(200)
    by_image, by_group = paired.paired_bootstrap(a, b), paired.paired_bootstrap(a, b, groups=single)
    assert by_group.low == pytest.approx(by_image.low, abs=2e-3) and by_group.p == pytest.approx(by_image.p, abs=0.03)
    labels = rng.integers(0, 2, 200)
    of_groups, of_images = (intervals.of_auroc(a, labels, groups=groups) for groups in (single, None))
    assert np.isclose(of_groups, of_images, atol=5e-3).all()


def test_the_interval_of_the_calibration_error_is_reflected() -> None:
    """The basic interval: 2 s - q of the quantiles q of the resamples, not the quantiles."""
    values = np.random.default_rng(0).exponential(size=60)
    found = intervals.bootstrap(lambda w: {"ece": float(w @ values / 60), "nll": float(w @ values / 60)}, 60, 0, 200)
    draws = [w @ values / 60 for w in intervals.image_weights(60, 0, 200)]
    low, high = np.quantile(draws, (0.025, 0.975))
    assert found["nll"] == pytest.approx((low, high))
    assert found["ece"] == pytest.approx((2 * values.mean() - high, 2 * values.mean() - low))


def test_p_counts_the_sample_as_a_resample() -> None:
    assert paired.difference(1.0, np.ones(99), 99).p == pytest.approx(2 / 100)
    assert paired.difference(1.0, np.array([-1.0] * 4 + [1.0] * 95), 99).p == pytest.approx(2 * 5 / 100)
