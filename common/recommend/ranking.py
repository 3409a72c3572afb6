"""The ranking of backbones by their predictions for the same images, with its uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from ..metrics.classification import effective_sample_size, image_scores
from ..statistics import intervals, paired, posterior
from ..statistics.intervals import stretch, unit_indices

SLOW_RESAMPLES = 2_000  # if every resample needs a call per backbone


@dataclass(frozen=True)
class Standing:
    """A backbone among others. Scores are fractions, intervals 95 %.

    The intervals of differences hold together, see `paired.differences_to`.
    """

    name: str
    score: float
    interval: tuple[float, float]
    p_best: float  # P(it is the best), by the posterior of the true scores
    regret: float  # expected loss against the best, likewise
    behind: float  # the leader's score minus this one
    behind_error: float  # its standard error
    behind_interval: tuple[float, float]
    tied: bool  # not significantly different from the leader at 5 %: `behind_interval` holds 0; the leader itself is
    p_equivalent: float  # P(it is at most half a point below the best), by the posterior
    equivalent: bool  # whether that is `posterior.EQUIVALENT` or more


def rank(
    names: Sequence[str], predicted: ndarray, labels: ndarray, metric: str, seed: int, groups: ndarray | None = None
) -> list[Standing]:
    """The best first. `predicted` (K, N) int and `labels` (N,) int are classes; `metric` top1 or balanced_accuracy.

    Images, or whole groups of them, are resampled alike for all backbones; few groups widen the intervals, see `stretch`.
    """
    resampled = _resample(predicted, labels, metric, seed, groups)
    scores = np.array([accuracy(row, labels, metric) for row in predicted])
    leader = int(np.argmax(scores))
    behind, n = resampled[:, [leader]] - resampled, effective_sample_size(metric, labels)
    per_image = image_scores(predicted == labels, labels, metric)
    draws = posterior.posterior(per_image[:, None], seed, groups, point=0.01)
    p_best, regret = posterior.p_best(draws), posterior.expected_regret(draws)
    p_equivalent = posterior.p_equivalent(draws)
    differences = paired.differences_to(leader, scores, resampled, n)
    return [
        Standing(
            name=names[k],
            score=float(scores[k]),
            interval=intervals.of_mean(per_image[k], groups, n),
            p_best=float(p_best[k]),
            regret=float(regret[k]),
            behind=float(scores[leader] - scores[k]),
            behind_error=float(np.hypot(behind[:, k].std(), 1 / (n + 2))),
            behind_interval=(-differences[k].high, -differences[k].low),
            tied=not differences[k].is_significant,
            p_equivalent=float(p_equivalent[k]),
            equivalent=bool(p_equivalent[k] >= posterior.EQUIVALENT),
        )
        for k in sorted(range(len(names)), key=lambda k: (-scores[k], k))
    ]


def accuracy(predicted: ndarray, labels: ndarray, metric: str) -> float:
    """top1, or balanced_accuracy, the mean over the classes that have images."""
    units = np.arange(len(labels))
    return _scorer(predicted, labels, metric, units)(np.ones(len(labels)))


def true_scores(predicted: ndarray, labels: ndarray, metric: str, seed: int, groups: ndarray | None = None) -> ndarray:
    """(R, K) draws from the posterior of the scores, see `posterior`; arguments as of `rank`."""
    scores = image_scores(predicted == labels, labels, metric)
    return posterior.posterior(scores[:, None], seed, groups, point=0.01)


def effective_units(labels: ndarray, metric: str, groups: ndarray | None) -> float:
    """`effective_sample_size`, scaled from images to groups."""
    n = effective_sample_size(metric, labels)
    return n if groups is None else n * len(np.unique(groups)) / len(groups)


def _resample(predicted: ndarray, labels: ndarray, metric: str, seed: int, groups: ndarray | None) -> ndarray:
    """(R, K) scores."""
    if metric == "top1" and groups is None:
        return paired.resample_means(predicted == labels, seed)
    units = unit_indices(len(labels), groups)
    scorers = [_scorer(row, labels, metric, units) for row in predicted]
    resampled = paired.resample_scores(scorers, units.max() + 1, seed, SLOW_RESAMPLES)
    centre = np.array([score(np.ones(units.max() + 1)) for score in scorers])
    return centre + stretch(groups) * (resampled - centre)


def _scorer(predicted: ndarray, labels: ndarray, metric: str, units: ndarray) -> Callable[[ndarray], float]:
    """A function from how often each unit (an image or a group) was drawn to the score."""
    correct, strata = predicted == labels, labels if metric == "balanced_accuracy" else np.zeros_like(labels)

    def score(counts: ndarray) -> float:
        weights = counts[units]
        totals, hits = np.bincount(strata, weights), np.bincount(strata, weights * correct)
        return float((hits[totals > 0] / totals[totals > 0]).mean())

    return score
