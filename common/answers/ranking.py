"""Predictions of several backbones for the same images -> their order, and how sure it is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

MARGIN = 0.005  # a difference of accuracies that makes none in practice
SURE = 0.95
RESAMPLES = 10_000
CHUNK = 20_000_000  # draws in memory at once


@dataclass(frozen=True)
class Standing:
    """A backbone among others. Scores are fractions, intervals hold 95 % of the resamples."""

    name: str
    score: float
    interval: tuple[float, float]
    p_best: float  # share of the resamples in which it is the best; ties are shared
    behind: float  # the leader's score less its own
    behind_interval: tuple[float, float]
    tied: bool  # not told apart from the leader: Holm's procedure over all others at 5 %
    equivalent: bool  # within MARGIN of the leader, or above it, in 95 % of the resamples


def rank(
    names: Sequence[str],
    predicted: ndarray,
    labels: ndarray,
    metric: str,
    seed: int,
    groups: ndarray | None = None,
) -> list[Standing]:
    """The best first. `predicted` (K, N) int and `labels` (N,) int are classes; `metric` top1 or balanced_accuracy.

    Images are resampled, whole groups of them where there are some, the same for all backbones (paired bootstrap).
    """
    right = predicted == labels
    strata = _strata(labels, metric)
    units = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    scores = [accuracy(one, labels, metric) for one in predicted]
    draws = _draws(right, strata, units, seed)
    best = draws == draws.max(1, keepdims=True)
    p_best = (best / best.sum(1, keepdims=True)).mean(0)
    intervals = np.quantile(draws, (0.025, 0.975), axis=0).T
    order = sorted(range(len(names)), key=lambda k: (-scores[k], -p_best[k]))
    behind = draws[:, order[:1]] - draws
    behind_intervals = np.quantile(behind, (0.025, 0.975), axis=0).T
    tied = _tied(behind[:, order[1:]])
    return [
        Standing(
            name=names[k],
            score=scores[k],
            interval=tuple(intervals[k].tolist()),
            p_best=float(p_best[k]),
            behind=scores[order[0]] - scores[k],
            behind_interval=tuple(behind_intervals[k].tolist()),
            tied=place == 0 or bool(tied[place - 1]),
            equivalent=bool((behind[:, k] <= MARGIN).mean() >= SURE),
        )
        for place, k in enumerate(order)
    ]


def accuracy(predicted: ndarray, labels: ndarray, metric: str) -> float:
    """top1, or balanced_accuracy, the mean over classes."""
    strata = _strata(labels, metric)
    return float(np.mean([(predicted == labels)[strata == c].mean() for c in np.unique(strata)]))


def _strata(labels: ndarray, metric: str) -> ndarray:
    """(N,): the images over which right answers are averaged first."""
    return labels if metric == "balanced_accuracy" else np.zeros_like(labels)


def _draws(right: ndarray, strata: ndarray, units: ndarray, seed: int) -> ndarray:
    """(RESAMPLES, K): the mean over strata of the share of right answers, whole units drawn with replacement."""
    rng = np.random.default_rng(seed)
    n = units.max() + 1
    parts = []
    for c in np.unique(strata):
        members, which = np.unique(units[strata == c], return_inverse=True)
        hits = np.stack([np.bincount(which, row) for row in right[:, strata == c]], axis=1)  # (units of c, K)
        parts.append((members, hits, np.bincount(which).astype(float)))
    draws = []
    for some in np.array_split(np.arange(RESAMPLES), -(-RESAMPLES * n // CHUNK)):
        drawn = rng.integers(n, size=(len(some), n)) + n * np.arange(len(some))[:, None]
        times = np.bincount(drawn.ravel(), minlength=n * len(some)).reshape(len(some), n).astype(float)
        with np.errstate(invalid="ignore"):  # a class that was not drawn has no say
            shares = [
                times[:, members] @ hits / (times[:, members] @ sizes)[:, None]
                for members, hits, sizes in parts
            ]
        draws.append(np.nanmean(shares, axis=0))
    return np.concatenate(draws)


def _tied(behind: ndarray) -> ndarray:
    """(K - 1,): whose (RESAMPLES, K - 1) distances from the leader Holm's procedure does not tell from zero at 5 %."""
    below = np.minimum((behind <= 0).sum(0), (behind >= 0).sum(0))
    p = np.minimum(1, 2 * (below + 1) / (len(behind) + 1))
    order = np.argsort(p)
    worst = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    tied = np.empty(len(p), bool)
    tied[order] = worst > 1 - SURE
    return tied
