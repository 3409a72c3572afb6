"""Intervals from resampling the test images, or whole groups of them."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy import ndarray
from scipy.special import ndtri, stdtrit

RESAMPLES = 1000
FRACTIONS = {"top1", "top5", "macro_f1", "balanced_accuracy"}


def bootstrap(
    scores: Callable[[ndarray], dict[str, float]],
    n: int,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    groups: ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Bootstrap over images, or over (n,) `groups` (Efron 1979): {metric: (low, high)}.

    `scores` maps how often each of the `n` images was drawn to {metric: score}. Intervals are percentiles, but:

    - Fractions near one: percentiles cover an accuracy of 99.5 % on 400 images in 86 % of samples instead of 95 %. Fractions
      get Wilson's score interval for the number of images that would explain the variance over resamples, the
      "effective sample size" of surveys (Franco et al. 2019): `n` itself for top-1, fewer for the mean of rare classes.
    - Resampling inflates the calibration error; its interval is reflected at the score (the "basic" interval).
    - The resamples of G groups vary too little by a factor (G - 1) / G in variance, and their number is often small: the
      intervals are widened by it, and use Student's distribution with G - 1 degrees of freedom.

    Training noise is not in these intervals: compare seeds.
    """
    draws: dict[str, list[float]] = {}
    units = unit_indices(n, groups)
    for weights in image_weights(n, seed, resamples, groups):
        for name, value in scores(weights).items():
            draws.setdefault(name, []).append(value)
    at, quantile, widening = scores(np.ones(n)), _quantile(level, groups), _widening(groups)
    stretch = quantile / ndtri((1 + level) / 2) * widening**0.5
    intervals: dict[str, tuple[float, float]] = {}
    for name, values in draws.items():
        low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2)).tolist()
        if name in FRACTIONS:
            low, high = _wilson(at[name], widening * np.var(values), units.max() + 1, quantile)
        elif name == "ece":
            low, high = 2 * at[name] - high, 2 * at[name] - low
        if name not in FRACTIONS:
            low, high = (max(0.0, at[name] + stretch * (end - at[name])) for end in (low, high))
        intervals[name] = (low, high)
    return intervals


def of_mean(values: ndarray, level: float = 0.95, groups: ndarray | None = None) -> tuple[float, float]:
    """The interval of a fraction that is the mean of these (N,) values, see `classification.auroc_values`.

    G groups leave G - 2 degrees of freedom, because an AUROC compares two samples (Obuchowski 1997, Biometrics 53:567).
    """
    units = unit_indices(len(values), groups)
    sums = np.bincount(units, values - values.mean())
    variance = _widening(groups) * np.square(sums).sum() / len(values) ** 2
    return _wilson(float(values.mean()), variance, len(sums), _quantile(level, groups, 2))


def unit_indices(n: int, groups: ndarray | None) -> ndarray:
    """(N,) int from 0: what is drawn as one, the group of each of `n` images or the image itself."""
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def image_weights(n: int, seed: int, resamples: int, groups: ndarray | None = None) -> Iterator[ndarray]:
    """(N,) float per resample: how often each of the `n` images was drawn, or each of their groups."""
    rng, units = np.random.default_rng(seed), unit_indices(n, groups)
    n_units = units.max() + 1
    for _ in range(resamples):
        yield np.bincount(rng.integers(n_units, size=n_units), minlength=n_units).astype(float)[units]


def _quantile(level: float, groups: ndarray | None, n_means: int = 1) -> float:
    """Of the normal distribution; of Student's for groups, from which `n_means` means are estimated."""
    if groups is None:
        return float(ndtri((1 + level) / 2))
    return float(stdtrit(max(1, len(np.unique(groups)) - n_means), (1 + level) / 2))


def _widening(groups: ndarray | None) -> float:
    """From the variance of resampled groups to an unbiased one; 1 for images, of which there are many."""
    n_groups = 0 if groups is None else len(np.unique(groups))
    return n_groups / (n_groups - 1) if n_groups > 1 else 1.0


def _wilson(fraction: float, variance: float, n_units: int, quantile: float) -> tuple[float, float]:
    """Wilson 1927: the score interval of a fraction of the number of images that explains its variance."""
    z2 = quantile**2
    n = fraction * (1 - fraction) / variance if variance else n_units
    middle = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (fraction * (1 - fraction) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
