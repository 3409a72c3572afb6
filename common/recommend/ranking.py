"""The ranking of backbones by their predictions for the same images, with its uncertainty."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import ndtri

from ..metrics.classification import effective_sample_size, image_scores
from ..statistics import intervals, paired, posterior
from ..statistics.intervals import stretch, unit_indices

ALPHA = 0.05  # of a difference, and all of them together
SLOW_RESAMPLES = 2_000  # if every resample needs a call per backbone


@dataclass(frozen=True)
class Standing:
    """A backbone among others. Scores are fractions, intervals 95 %.

    The intervals of tied backbones hold together, so that each includes 0 (Strassburger & Bretz 2008, Stat. Med. 27:4914).
    """

    name: str
    score: float
    interval: tuple[float, float]
    p_best: float  # P(it is the best), by the posterior of the true scores
    regret: float  # expected loss against the best, likewise
    behind: float  # the leader's score minus this one
    behind_error: float  # its standard error
    behind_interval: tuple[float, float]
    tied: bool  # not significantly different from the leader, by Holm's procedure at 5 %; the leader itself is
    p_equivalent: float  # P(it is at most half a point below the best), by the posterior
    equivalent: bool  # whether that is `posterior.EQUIVALENT` or more


def rank(
    names: Sequence[str], predicted: ndarray, labels: ndarray, metric: str, seed: int, groups: ndarray | None = None
) -> list[Standing]:
    """The best first. `predicted` (K, N) int and `labels` (N,) int are classes; `metric` top1 or balanced_accuracy.

    Images, or whole groups of them, are resampled alike for all backbones; few groups widen the intervals, see `stretch`.
    """
    resampled = _resample(predicted, labels, metric, seed, groups)
    scores = [accuracy(row, labels, metric) for row in predicted]
    leader = int(np.argmax(scores))
    behind = resampled[:, [leader]] - resampled
    n, n_units = effective_sample_size(metric, labels), effective_units(labels, metric, groups)
    per_image = image_scores(predicted == labels, labels, metric)
    draws = posterior.posterior(per_image[:, None], seed, groups, point=0.01)
    p_best, regret = posterior.p_best(draws), posterior.expected_regret(draws)
    p_equivalent = posterior.p_equivalent(draws)
    differences = [scores[leader] - score for score in scores]
    tied, behind_intervals = _compare(differences, behind, leader, n_units)
    return [
        Standing(
            name=names[k],
            score=scores[k],
            interval=intervals.of_mean(per_image[k], groups, n),
            p_best=float(p_best[k]),
            regret=float(regret[k]),
            behind=differences[k],
            behind_error=float(np.hypot(behind[:, k].std(), 1 / (n_units + 2))),
            behind_interval=behind_intervals[k],
            tied=k in tied,
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


def _compare(
    differences: Sequence[float], behind: ndarray, leader: int, n: float
) -> tuple[set[int], list[tuple[float, float]]]:
    """The tied ones, and the intervals of the differences to the leader, see `Standing`. `behind`: (R, K)."""
    separate = [_difference_interval(x, behind[:, k], n, ALPHA) for k, x in enumerate(differences)]
    tied = _not_rejected(behind, leader) | {k for k, (low, _) in enumerate(separate) if low <= 0}
    together = separate.copy()
    for k in tied - {leader}:
        low, high = _difference_interval(differences[k], behind[:, k], n, ALPHA / (len(tied) - 1))
        together[k] = (min(low, 0.0), high)
    together[leader] = (0.0, 0.0)
    return tied, together


def _difference_interval(value: float, resampled: ndarray, n: float, alpha: float) -> tuple[float, float]:
    """With the variance of half an image in each cell of the paired table (Agresti & Min 2005): never of no width."""
    low, high = np.quantile(resampled, (alpha / 2, 1 - alpha / 2))
    extra = ndtri(1 - alpha / 2) / (n + 2)
    return max(-1.0, float(value - np.hypot(value - low, extra))), min(
        1.0, float(value + np.hypot(high - value, extra))
    )


def _not_rejected(behind: ndarray, leader: int) -> set[int]:
    """By Holm's procedure at 5 %, and the leader; p-values as in `paired.paired_bootstrap`. `behind`: (R, K)."""
    others = [k for k in range(behind.shape[1]) if k != leader]
    tails = np.minimum((behind <= paired.ROUNDING).sum(0), (behind >= -paired.ROUNDING).sum(0))
    p_values = paired.holm(np.minimum(1, 2 * (tails[others] + 1) / (len(behind) + 1)))
    return {leader} | {k for k, p in zip(others, p_values, strict=True) if p > ALPHA}


def _scorer(predicted: ndarray, labels: ndarray, metric: str, units: ndarray) -> Callable[[ndarray], float]:
    """A function from how often each unit (an image or a group) was drawn to the score."""
    correct, strata = predicted == labels, labels if metric == "balanced_accuracy" else np.zeros_like(labels)

    def score(counts: ndarray) -> float:
        weights = counts[units]
        totals, hits = np.bincount(strata, weights), np.bincount(strata, weights * correct)
        return float((hits[totals > 0] / totals[totals > 0]).mean())

    return score
