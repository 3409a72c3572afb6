"""Which of several classifiers is better, judged by the same test images, and how sure.

Shapes: N images, K classifiers, S seeds of one. A score per image is whether it is right (0 or 1), or any other number
whose mean is the score of a set. What another seed would change is not in these figures unless seeds are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.stats import binomtest

RESAMPLES = 10_000
CELLS = 10_000_000  # numbers in memory at once


@dataclass(frozen=True)
class Difference:
    """Of two classifiers: the first one's score less the second one's, its 95 % interval, and a two-sided p."""

    difference: float
    low: float
    high: float
    p: float


def paired_bootstrap(a: ndarray, b: ndarray, seed: int = 0, resamples: int = RESAMPLES) -> Difference:
    """`a` and `b`: scores per image, (N,) or (S, N), of which the mean over seeds counts.

    Images are drawn with replacement, the same for both; percentile interval (Efron 1979). p is twice the share of
    resamples on the other side of no difference (Davison & Hinkley 1997, equation 4.11: plus one).
    """
    by_image = np.atleast_2d(a).mean(0) - np.atleast_2d(b).mean(0)
    drawn = _means(by_image[None], seed, resamples)[:, 0]
    low, high = np.quantile(drawn, (0.025, 0.975))
    beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
    return Difference(
        float(by_image.mean()), float(low), float(high), min(1.0, float(2 * (1 + beyond) / (1 + resamples)))
    )


def draws(
    scorers: Sequence[Callable[[ndarray], float]], n: int, seed: int = 0, resamples: int = 1_000
) -> ndarray:
    """(resamples, K) scores of resampled images, for metrics that are no means.

    A scorer maps how often each of the `n` images was drawn (n,) to a score.
    """
    return np.array(
        [[score(row) for score in scorers] for rows in _counts(n, seed, resamples) for row in rows]
    )


def p_best(scores: ndarray, seed: int = 0, resamples: int = RESAMPLES) -> ndarray:
    """(K, N) scores per image -> (K,) how probable it is that each is the best, by resampled images; the sum is 1."""
    return p_best_of(_means(scores, seed, resamples))


def p_best_of(drawn: ndarray) -> ndarray:
    """The same from `draws`. Those who share the first place share it equally."""
    first = drawn == drawn.max(1, keepdims=True)
    return (first / first.sum(1, keepdims=True)).mean(0)


def equivalent(scores: ndarray, margin: float, seed: int = 0, resamples: int = RESAMPLES) -> ndarray:
    """(K, N) -> (K,) how probable it is that each is less than `margin` below the leader, the best by its mean."""
    leader = int(np.argmax(scores.mean(1)))
    return equivalent_of(_means(scores, seed, resamples), leader, margin)


def equivalent_of(drawn: ndarray, leader: int, margin: float) -> ndarray:
    """The same from `draws`."""
    return (drawn > drawn[:, [leader]] - margin).mean(0)


def mcnemar(a_right: ndarray, b_right: ndarray) -> float:
    """Exact two-sided p of McNemar's test (1947): (N,) who of the two is right where the other is not."""
    a_right, b_right = np.asarray(a_right, bool), np.asarray(b_right, bool)
    a_alone, b_alone = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    return float(binomtest(a_alone, a_alone + b_alone).pvalue) if a_alone + b_alone else 1.0


def holm(p: Sequence[float]) -> ndarray:
    """p values adjusted for how many there are, so that all together err as seldom as one (Holm 1979)."""
    p = np.asarray(p, float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    adjusted = np.empty_like(stepped)
    adjusted[order] = stepped
    return adjusted


def bayesian_signed_rank(
    differences: Sequence[float], rope: float, seed: int = 0, samples: int = 50_000
) -> tuple[float, float, float]:
    """How probable it is that a method is worse, practically equal and better than another, from one difference a dataset.

    Benavoli et al. 2017, JMLR 18(77), section 4.2: a Dirichlet process with strength 0.5 on a difference of 0; `rope`
    is what is practically no difference, in the unit of the differences.
    """
    z = np.concatenate(([0.0], np.asarray(differences, float)))
    sums = z[:, None] + z
    regions = np.stack([sums < -2 * rope, np.abs(sums) <= 2 * rope, sums > 2 * rope]).astype(float)
    weights = np.random.default_rng(seed).dirichlet([0.5] + [1.0] * (len(z) - 1), samples)
    shares = np.einsum("si,rij,sj->sr", weights, regions, weights, optimize=True)
    return tuple(p_best_of(shares).tolist())


def _means(scores: ndarray, seed: int, resamples: int) -> ndarray:
    """(K, N) -> (resamples, K) means of resampled images."""
    scores = np.asarray(scores, float)
    n = scores.shape[1]
    return np.concatenate([rows @ scores.T for rows in _counts(n, seed, resamples)]) / n


def _counts(n: int, seed: int, resamples: int) -> Iterator[ndarray]:
    """(some, n) how often each of n images was drawn, until there are as many rows as resamples."""
    rng = np.random.default_rng(seed)
    most = max(1, CELLS // n)
    for start in range(0, resamples, most):
        rows = min(most, resamples - start)
        cells = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(cells.ravel(), minlength=rows * n).reshape(rows, n).astype(float)
