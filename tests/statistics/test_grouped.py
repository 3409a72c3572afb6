"""Intervals and comparisons of images in groups: coverage by simulation, and agreement with those of images."""

import numpy as np
import pytest

from common.metrics import classification
from common.statistics import intervals, paired, posterior


def grouped_hits(
    rng: np.random.Generator, accuracy: float, n_groups: int, size: int = 10, alike: float = 0.5
) -> np.ndarray:
    """(N,) 0 or 1 of images in groups of `size`; `alike` is the correlation within a group."""
    spread = 1 / alike - 1
    easy = rng.beta(accuracy * spread, (1 - accuracy) * spread, n_groups)
    return (rng.random((n_groups, size)) < easy[:, None]).ravel().astype(float)


@pytest.mark.parametrize("n_groups, accuracy", [(10, 0.7), (30, 0.85), (100, 0.95)])
def test_intervals_over_groups_of_ten_cover(n_groups: int, accuracy: float) -> None:
    """Of 300 samples; the Monte Carlo error (1 sd) is 1.3 points."""
    rng, groups = np.random.default_rng(0), np.repeat(np.arange(n_groups), 10)
    held = {"groups": 0, "images": 0, "mean": 0}
    for seed in range(300):
        hits = grouped_hits(rng, accuracy, n_groups)

        def scores(weights: np.ndarray, hits: np.ndarray = hits) -> dict[str, float]:
            return {"top1": weights @ hits / weights.sum()}

        found = {
            "groups": intervals.bootstrap(scores, len(hits), seed, resamples=100, groups=groups)["top1"],
            "images": intervals.bootstrap(scores, len(hits), seed, resamples=100)["top1"],
            "mean": intervals.of_mean(hits, groups=groups),
        }
        for name, (low, high) in found.items():
            held[name] += low <= accuracy <= high
    assert held["groups"] >= 0.92 * 300 and held["mean"] >= 0.92 * 300 and held["images"] < 0.75 * 300, held


def test_the_interval_of_an_auroc_of_few_clips_holds_chance() -> None:
    rng, held = np.random.default_rng(0), 0
    labels, groups = np.repeat([0, 1], 36), np.repeat(np.arange(6), 12)
    for _ in range(300):
        score = 2 * rng.normal(size=6)[groups] + rng.normal(size=72)
        values = classification.auroc_values(np.stack([-score, score], 1), labels)
        low, high = intervals.of_mean(values, groups=groups)
        held += low <= 0.5 <= high
    assert held >= 0.9 * 300


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
    assert by_group.low == pytest.approx(by_image.low, abs=2e-3) and by_group.p == pytest.approx(
        by_image.p, abs=0.03
    )
    assert np.isclose(intervals.of_mean(a, groups=single), intervals.of_mean(a), atol=2e-3).all()
