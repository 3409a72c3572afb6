"""Which classifier is better over many datasets: ranks, and the differences between ranks that mean something.

Demsar 2006, https://jmlr.org/papers/v7/demsar06a.html. Shapes: scores (D, K), D datasets and K candidates, higher is
better. Datasets are taken for independent: the four magnifications of BreakHis are one.
"""

import numpy as np
from numpy import ndarray
from scipy.stats import chi2, rankdata, studentized_range


def mean_ranks(scores: ndarray) -> ndarray:
    """(D, K) -> (K,): 1 is best, ties share the mean of their ranks.

    Raises:
        ValueError: a cell is missing (not finite). Leave out its dataset or its candidate, and say so.
    """
    return _ranks(scores).mean(0)


def friedman(scores: ndarray) -> tuple[float, float]:
    """Chi-square and p of "all candidates are alike" (Friedman 1937), corrected for ties; (0, 1) where all are tied.

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
    """Critical difference: mean ranks of `k` candidates over `n` datasets that are nearer cannot be told apart.

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
    reached = np.append(0, ends[:-1])  # a group inside the one before says nothing new
    return [
        order[start:end].tolist()
        for start, (end, before) in enumerate(zip(ends, reached, strict=True))
        if end > max(before, start + 1)
    ]


def _ranks(scores: ndarray) -> ndarray:
    """(D, K) ranks within each dataset."""
    scores = np.asarray(scores, float)
    if missing := np.argwhere(~np.isfinite(scores)).tolist():
        raise ValueError(
            f"{len(missing)} of {scores.size} cells missing, the first (dataset, candidate) {missing[0]}"
        )
    return rankdata(-scores, axis=1)
