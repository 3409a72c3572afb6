"""Paired tests of trained networks on the same test images.

Shapes: N images, K candidates, S seeds of training, R resamples. Images are resampled, or whole groups of them, the same
ones for all candidates. The variation between training runs is not in these intervals: see posterior.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import ndtr, ndtri
from scipy.stats import binomtest, chi2

from .intervals import image_weights, stretch, unit_indices

RESAMPLES = 10_000
ROUNDING = 1e-9  # scores that differ by less are equal
NORMAL = float(ndtri(0.975))
BLOCK = 4_000_000  # numbers in memory at a time


@dataclass(frozen=True)
class Difference:
    """The score of one classifier minus that of another."""

    difference: float
    low: float
    high: float
    p: float  # two-sided

    @property
    def is_significant(self) -> bool:
        """At 5 %: the interval does not hold 0."""
        return not self.low <= 0 <= self.high


def resample_means(
    scores: ndarray, seed: int = 0, resamples: int = RESAMPLES, groups: ndarray | None = None
) -> ndarray:
    """(K, N) scores per image -> (R, K) their means over resampled images, or over resampled (N,) `groups`.

    Means over groups are spread further from their centre, so that percentiles are as far apart as Student's interval of few
    groups.

    Images with the same column of scores are interchangeable, so their number in a resample is multinomial: this is the
    exact bootstrap, and fast for 0/1 scores. With 30,000 distinct columns it takes half a minute.
    """
    scores = np.asarray(scores, float)
    if groups is not None:  # sums and sizes of groups instead of single scores
        units = unit_indices(scores.shape[1], groups)
        scores = np.stack([np.bincount(units, row) for row in (*scores, np.ones(len(units)))])
    kinds, counts = np.unique(scores, axis=1, return_counts=True)
    n, rng, block = counts.sum(), np.random.default_rng(seed), max(1, BLOCK // len(counts))
    sizes = [min(block, resamples - done) for done in range(0, resamples, block)]
    sums = np.concatenate([rng.multinomial(n, counts / n, size) @ kinds.T for size in sizes])
    if groups is None:
        return sums / n
    means, centre = sums[:, :-1] / sums[:, -1:], (kinds[:-1] @ counts) / (kinds[-1] @ counts)
    return centre + stretch(groups) * (means - centre)


def resample_scores(
    scorers: Sequence[Callable[[ndarray], float]], n: int, seed: int = 0, resamples: int = RESAMPLES
) -> ndarray:
    """(R, K) scores over resampled images, for scores that are not a mean over images (macro-F1, AUROC ...).

    A scorer maps how often each of the `n` images was drawn, (N,) float, to the score of its candidate.
    """
    return np.array([[score(weights) for score in scorers] for weights in image_weights(n, seed, resamples)])


def paired_bootstrap(
    a: ndarray, b: ndarray, seed: int = 0, resamples: int = RESAMPLES, groups: ndarray | None = None
) -> Difference:
    """mean(a) - mean(b) of scores per image, (N,) or (S, N). Seeds are averaged per image.

    Raises:
        ValueError: not the same images.
    """
    a, b = np.atleast_2d(a), np.atleast_2d(b)
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"{a.shape[1]} images against {b.shape[1]}: a paired comparison needs the same")
    by_image = a.mean(0) - b.mean(0)
    draws = resample_means(by_image[None], seed, resamples, groups)[:, 0]
    return difference(by_image.mean(), draws, len(by_image))


def difference(estimate: float, draws: ndarray, n: float) -> Difference:
    """A difference and (R,) resamples of it -> its 95 % interval and p.

    The interval is that of percentiles, see `interval`. p inverts the interval: twice the smaller fraction of resamples on either side of zero, with zero on both sides and
    the sample itself counted as a resample (Davison & Hinkley 1997, section 4.2).
    """
    low, high = interval(estimate, draws, n)
    sides = (draws <= ROUNDING).sum(), (draws >= -ROUNDING).sum()
    return Difference(float(estimate), low, high, float(min(1, 2 * (min(sides) + 1) / (len(draws) + 1))))


def interval(estimate: float, draws: ndarray, n: float) -> tuple[float, float]:
    """95 % percentiles of (R,) resampled differences of scores in 0 to 1, from `n` images.

    With the variance of half an image in each cell of the paired table, so never of no width (Agresti & Min 2005).
    """
    low, high = np.quantile(draws, (0.025, 0.975))
    extra = NORMAL / (n + 2)
    return max(-1.0, float(estimate - np.hypot(estimate - low, extra))), min(
        1.0, float(estimate + np.hypot(high - estimate, extra))
    )


def differences_to(leader: int, scores: ndarray, draws: ndarray, n: float) -> list[Difference]:
    """Each candidate's score minus that of `leader`, p and 95 % intervals corrected for all pairs: the leader was chosen by its score.

    p is the fraction of resamples in which the largest difference of any two candidates, in standard errors and about that of the
    sample, is as large as this one, and the intervals hold together (max-T: Westfall & Young 1993, section 2.6; Hothorn, Bretz &
    Westfall 2008, Biom. J. 50:346). Neither is bolder than a normal distribution, with the variance of half an image in each cell of
    the paired table.

    Args:
        leader: its position.
        scores: (K,) in 0 to 1.
        draws: (R, K) resampled scores.
        n: images.
    """
    covariance = np.atleast_2d(np.cov(draws.T))
    variances = np.diag(covariance)
    errors = np.sqrt((variances[:, None] + variances - 2 * covariance).clip(0) + 1 / (n + 2) ** 2)
    centred, largest = draws - scores, np.zeros(len(draws))
    for k in range(len(scores)):
        largest = np.maximum(largest, (np.abs(centred - centred[:, [k]]) / errors[k]).max(1))
    estimates, margins = scores - scores[leader], max(float(np.quantile(largest, 0.95)), NORMAL) * errors[leader]
    t = np.abs(estimates) / errors[leader]
    p = np.maximum((1 + (largest[:, None] >= t - ROUNDING).sum(0)) / (1 + len(draws)), 2 * ndtr(-t))
    ends = (estimates - margins).clip(-1), (estimates + margins).clip(max=1)
    found = [Difference(*map(float, row)) for row in zip(estimates, *ends, p, strict=True)]
    found[leader] = Difference(0.0, 0.0, 0.0, 1.0)
    return found


def mcnemar(a_right: ndarray, b_right: ndarray, groups: ndarray | None = None) -> float:
    """Exact p of equal accuracy: (N,) bool each (McNemar 1947, with the binomial distribution).

    Only images on which exactly one is right count; 1 without any. With (N,) `groups` p is asymptotic, from the
    differences of the accuracies in each group (Durkalski et al. 2003, Statistics in Medicine 22:2417).
    """
    a_right, b_right = np.asarray(a_right, bool), np.asarray(b_right, bool)
    if groups is not None:
        units = unit_indices(len(a_right), groups)
        gains = np.bincount(units, a_right.astype(float) - b_right) / np.bincount(units)
        return float(chi2.sf(gains.sum() ** 2 / np.square(gains).sum(), 1)) if gains.any() else 1.0
    only_a, only_b = int((a_right & ~b_right).sum()), int((b_right & ~a_right).sum())
    return float(binomtest(only_a, only_a + only_b).pvalue) if only_a + only_b else 1.0


def holm(p: Sequence[float]) -> ndarray:
    """(M,) p-values adjusted for their number (Holm 1979): reject those <= alpha, with familywise error alpha."""
    p = np.asarray(p, float)
    order = p.argsort()
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def bayesian_signed_rank(
    differences: ndarray, rope: float, seed: int = 0, samples: int = 50_000
) -> tuple[float, float, float]:
    """(D,) differences of scores, one per dataset -> P(worse), P(practically equivalent), P(better).

    Bayesian signed-rank test (Benavoli et al. 2014; 2017, https://jmlr.org/papers/v18/16-305.html):
    a Dirichlet process with prior strength 0.5 on a pseudo-difference of zero. Equivalent is a mean of two
    differences within +-`rope`; an edge counts half. Each probability is that of its region being the likeliest.
    """
    z = np.append(0.0, differences)
    sums = z[:, None] + z
    above, below = (np.heaviside((side - 2 * rope).round(12), 0.5) for side in (sums, -sums))
    weights = np.random.default_rng(seed).dirichlet(np.append(0.5, np.ones(len(z) - 1)), samples)
    worse, better = (((weights @ region) * weights).sum(1) for region in (below, above))
    likeliest = np.stack([worse, 1 - worse - better, better]).argmax(0)
    return tuple((np.bincount(likeliest, minlength=3) / samples).tolist())
