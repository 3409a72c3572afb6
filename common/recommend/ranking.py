"""Predictions of several backbones for the same images -> their order, and how sure it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from ..statistics import paired

SURE = 0.95
SLOWER = 2_000  # resamples where each takes a call per backbone


@dataclass(frozen=True)
class Standing:
    """A backbone among others. Scores are fractions, intervals hold 95 % of the resamples."""

    name: str
    score: float
    interval: tuple[float, float]
    p_best: float  # share of the resamples in which it is the best; a tie is split
    behind: float  # the leader's score less its own
    behind_interval: tuple[float, float]
    tied: bool  # not told apart from the leader: Holm's procedure over all others at 5 %
    equivalent: bool  # at most half a point behind the leader in 95 % of the resamples


def rank(
    names: Sequence[str],
    predicted: ndarray,
    labels: ndarray,
    metric: str,
    seed: int,
    groups: ndarray | None = None,
) -> list[Standing]:
    """The best first. `predicted` (K, N) int and `labels` (N,) int are classes; `metric` top1 or balanced_accuracy.

    Images are resampled, whole groups of them where there are some, the same for all backbones.
    """
    if metric == "top1" and groups is None:
        draws = paired.resample_means(predicted == labels, seed)
    else:
        units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
        scorers = [_scorer(one, labels, metric, units) for one in predicted]
        draws = paired.resample_scores(scorers, units.max() + 1, seed, SLOWER)
    scores = [accuracy(one, labels, metric) for one in predicted]
    leader = int(np.argmax(scores))
    behind = draws[:, [leader]] - draws
    bounds, behind_bounds = (np.quantile(d, (0.025, 0.975), axis=0).T.tolist() for d in (draws, behind))
    p_best, near = paired.share_best(draws), paired.share_equivalent(draws, leader)
    others = [k for k in range(len(names)) if k != leader]
    # p as in compare.paired_bootstrap
    sides = np.minimum((behind <= paired.ROUNDING).sum(0), (behind >= -paired.ROUNDING).sum(0))
    p = paired.holm(np.minimum(1, 2 * (sides[others] + 1) / (len(draws) + 1)))
    tied = {leader} | {k for k, p_k in zip(others, p, strict=True) if p_k > 1 - SURE}
    return [
        Standing(
            name=names[k],
            score=scores[k],
            interval=tuple(bounds[k]),
            p_best=float(p_best[k]),
            behind=scores[leader] - scores[k],
            behind_interval=tuple(behind_bounds[k]),
            tied=k in tied,
            equivalent=bool(near[k] >= SURE),
        )
        for k in sorted(range(len(names)), key=lambda k: (-scores[k], k))
    ]


def accuracy(predicted: ndarray, labels: ndarray, metric: str) -> float:
    """top1, or balanced_accuracy, the mean over the classes that have images."""
    units = np.arange(len(labels))
    return _scorer(predicted, labels, metric, units)(np.ones(len(labels)))


def _scorer(predicted: ndarray, labels: ndarray, metric: str, units: ndarray) -> Callable[[ndarray], float]:
    """How often each unit (an image, a group) was drawn -> the score."""
    right, strata = predicted == labels, labels if metric == "balanced_accuracy" else np.zeros_like(labels)

    def score(times: ndarray) -> float:
        weights = times[units]
        there, hits = np.bincount(strata, weights), np.bincount(strata, weights * right)
        return float((hits[there > 0] / there[there > 0]).mean())

    return score
