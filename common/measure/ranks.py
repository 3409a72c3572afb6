"""Rankings of methods over several datasets (Demsar 2006, JMLR 7:1-30).

Shapes: scores (D, K) of K methods on D datasets, higher is better, every cell there: what is missing is for the caller
to leave out, never to make up.
"""

import numpy as np
from numpy import ndarray
from scipy.stats import chi2, rankdata, studentized_range


def mean_ranks(scores: ndarray) -> ndarray:
    """(K,) the mean over datasets of each method's place; the best is 1, equal ones share their places.

    Raises:
        ValueError: a cell is missing.
    """
    return _ranks(scores).mean(0)


def friedman(scores: ndarray) -> tuple[float, float]:
    """Statistic, corrected for ties, and p of all methods being equal (Friedman 1937); for many cells, by chi-square."""
    ranks = _ranks(scores)
    d, k = ranks.shape
    spread = ((ranks - (k + 1) / 2) ** 2).sum() / (k - 1)
    if not spread:
        return 0.0, 1.0
    statistic = d**2 * ((ranks.mean(0) - (k + 1) / 2) ** 2).sum() / spread
    return float(statistic), float(chi2.sf(statistic, k - 1))


def nemenyi_cd(k: int, n: int, alpha: float = 0.05) -> float:
    """The critical difference of mean ranks of `k` methods on `n` datasets (Demsar 2006, section 3.2.2)."""
    return float(studentized_range.ppf(1 - alpha, k, np.inf) / np.sqrt(2) * np.sqrt(k * (k + 1) / (6 * n)))


def cliques(ranks: ndarray, cd: float) -> list[list[int]]:
    """The largest groups of methods, best first, whose mean ranks lie within `cd`: the bars of the diagram."""
    order = [int(i) for i in np.argsort(ranks, kind="stable")]
    found: list[list[int]] = []
    for start in range(len(order)):
        group = [i for i in order[start:] if ranks[i] - ranks[order[start]] <= cd]
        if len(group) > 1 and not (found and set(group) <= set(found[-1])):
            found.append(group)
    return found


def _ranks(scores: ndarray) -> ndarray:
    scores = np.asarray(scores, float)
    if np.isnan(scores).any():
        raise ValueError("a score is missing: leave out its dataset or its method")
    return rankdata(-scores, axis=1)
