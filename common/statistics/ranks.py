"""Ranks of classifiers over many datasets, and the significance of their differences.

Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html. Shapes: scores (D, K), D datasets and K candidates, higher is
better. Datasets are assumed independent: the four magnifications of BreakHis count as one.
"""

import numpy as np
from numpy import ndarray
from scipy.stats import chi2, rankdata, studentized_range


def mean_ranks(scores: ndarray) -> ndarray:
    """(D, K) -> (K,): 1 is best, ties share the mean of their ranks.

    Raises:
        ValueError: a cell is missing (not finite).
    """
    return _ranks(scores).mean(0)


def friedman(scores: ndarray) -> tuple[float, float]:
    """Chi-square and p of equal candidates (Friedman 1937), corrected for ties; (0, 1) if all are tied.

    Raises:
        ValueError: a cell is missing.
    """
    ranks = _ranks(scores)
    d, k = ranks.shape
    middle = (k + 1) / 2
    spread = np.square(ranks - middle).sum() / (k - 1)  # ties make it smaller
    if not spread:
        return 0.0, 1.0
    statistic = float(np.square(ranks.sum(0) - d * middle).sum() / spread)
    return statistic, float(chi2.sf(statistic, k - 1))


def nemenyi_cd(k: int, n: int, alpha: float = 0.05) -> float:
    """Critical difference: smaller differences of mean ranks of `k` candidates over `n` datasets are not significant.

    Nemenyi 1963; the studentized range at infinite degrees of freedom, over root two (Demsar, table 5).
    """
    return float(studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))


def cliques(mean_ranks: ndarray, cd: float) -> list[list[int]]:
    """The bars of a critical difference diagram: largest groups of two or more whose ranks span at most `cd`.

    Groups hold positions in `mean_ranks`, the best first.
    """
    mean_ranks = np.asarray(mean_ranks)
    order = mean_ranks.argsort(kind="stable")
    ends = np.searchsorted(mean_ranks[order], mean_ranks[order] + cd, side="right")
    reached = np.append(0, ends[:-1])  # a group within the previous one is redundant
    return [
        order[start:end].tolist()
        for start, (end, before) in enumerate(zip(ends, reached, strict=True))
        if end > max(before, start + 1)
    ]


def _ranks(scores: ndarray) -> ndarray:
    """(D, K) ranks within each dataset."""
    scores = np.asarray(scores, float)
    if missing := np.argwhere(~np.isfinite(scores)).tolist():
        raise ValueError(f"{len(missing)} of {scores.size} cells missing, the first (dataset, candidate) {missing[0]}")
    return rankdata(-scores, axis=1)
