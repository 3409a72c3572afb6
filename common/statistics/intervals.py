"""Intervals from resampling the test images, or whole groups of them."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from numpy import ndarray
from scipy.special import ndtri, stdtrit

RESAMPLES = 1000
PRIOR_DF = 0.5
UPPER = 0.975  # the quantile at the upper end of a 95 % interval
FRACTIONS = {"top1", "top5", "macro_f1", "balanced_accuracy"}


def bootstrap(
    scores: Callable[[ndarray], dict[str, float]],
    n: int,
    seed: int,
    resamples: int = RESAMPLES,
    groups: ndarray | None = None,
) -> dict[str, tuple[float, float]]:
    """Bootstrap over images, or over (n,) `groups` (Efron 1979): {metric: (low, high)}, 95 %.

    `scores` maps how often each of the `n` images was drawn to {metric: score}. Intervals are percentiles, but:

    - Fractions near one: percentiles cover an accuracy of 99.5 % on 400 images in 86 % of samples instead of 95 %. Fractions
      get Wilson's score interval for the number of images that would explain the variance over resamples, the
      "effective sample size" of surveys (Franco et al. 2019): `n` itself for top-1, fewer for the mean of rare classes.
    - Resampling inflates the calibration error; its interval is reflected at the score (the "basic" interval).
    - The resamples of G groups vary too little by a factor (G - 1) / G in variance, and their number is often small: the
      intervals are widened by it, and use Student's distribution with G - 1 degrees of freedom. Few groups may agree by
      chance, so the variance of fractions is moderated, see `_moderate`.

    Training noise is not in these intervals: compare seeds.
    """
    draws: dict[str, list[float]] = {}
    units = unit_indices(n, groups)
    for weights in image_weights(n, seed, resamples, groups):
        for name, value in scores(weights).items():
            draws.setdefault(name, []).append(value)
    at, sizes = scores(np.ones(n)), np.bincount(units)
    wide = stretch(groups)
    intervals: dict[str, tuple[float, float]] = {}
    for name, values in draws.items():
        low, high = np.quantile(values, (1 - UPPER, UPPER)).tolist()
        if name in FRACTIONS:
            low, high = _of_fraction(at[name], np.var(values), None if groups is None else sizes, n)
        else:
            if name == "ece":
                low, high = 2 * at[name] - high, 2 * at[name] - low
            low, high = (max(0.0, at[name] + wide * (end - at[name])) for end in (low, high))
        intervals[name] = (low, high)
    return intervals


def of_mean(values: ndarray, groups: ndarray | None = None, n: float | None = None) -> tuple[float, float]:
    """The 95 % interval of a fraction that is the mean of these (N,) values: that of `bootstrap`, without resampling.

    `n`: the number of images of which a plain fraction would be as precise, used where the values do not vary; None: N.
    """
    value, units = float(values.mean()), unit_indices(len(values), groups)
    variance = np.square(np.bincount(units, values - value)).sum() / len(values) ** 2
    sizes = None if groups is None else np.bincount(units)
    return _of_fraction(value, variance, sizes, len(values) if n is None else n)


def _of_fraction(value: float, variance: float, sizes: ndarray | None, n: float) -> tuple[float, float]:
    """Wilson's, of `n` images or of groups of these sizes; the variance is that over resamples."""
    if sizes is None:
        return _wilson(value, variance, n, ndtri(UPPER))
    df, n_alike = max(1, len(sizes) - 1), n * sizes.sum() / np.square(sizes).sum()
    variance = _moderate(variance * len(sizes) / df, value, df, n_alike)
    return _wilson(value, variance, len(sizes), stdtrit(df, UPPER))


def of_auroc(values: ndarray, labels: ndarray, groups: ndarray | None = None) -> tuple[float, float] | None:
    """The 95 % interval of an AUROC, the mean of these (N,) values of `classification.auroc_values`.

    DeLong's variance is too small for few images of one of two classes (LOG.md): the AUROC of two classes counts as no more
    images than their balanced accuracy would.

    Groups of every class are a sample of their own: variances are added, with Welch's (1947) degrees of freedom. None if a
    class has a single group.
    """
    value, deviations = float(values.mean()), (values - values.mean()) / len(values)
    counts = np.bincount(labels)
    limit = 4 / (1 / counts).sum() if len(counts) == 2 else math.inf
    if groups is None:
        variance = max(np.square(deviations).sum(), value * (1 - value) / limit)
        return _wilson(value, variance, min(len(values), limit), ndtri(UPPER))
    units = unit_indices(len(values), groups)
    n_groups = np.bincount(np.unique(np.stack([labels, units]), axis=1)[0])
    if n_groups.min() < 2:
        return None
    sums = np.zeros((units.max() + 1, len(n_groups)))
    np.add.at(sums, (units, labels), deviations)
    by_class = np.square(sums).sum(0) * n_groups / (n_groups - 1)
    variance = np.square(sums.sum(1)).sum() + (by_class / n_groups).sum()
    df = n_groups.min() - 1.0
    if by_class.any():
        df = by_class.sum() ** 2 / (np.square(by_class) / (n_groups - 1)).sum()
    n_alike = len(n_groups) ** 2 / (1 / n_groups).sum()
    variance = _moderate(variance, value, n_groups.sum() - len(n_groups), n_alike)
    variance = max(variance, value * (1 - value) / limit)
    return _wilson(value, variance, min(len(sums), limit), stdtrit(df, UPPER))


def stretch(groups: ndarray | None) -> float:
    """From the width of percentiles over resampled groups to that of Student's interval; 1 for images, of which there are many."""
    if groups is None:
        return 1.0
    n = len(np.unique(groups))
    df = max(1, n - 1)
    return float((n / df) ** 0.5 * stdtrit(df, UPPER) / ndtri(UPPER))


def unit_indices(n: int, groups: ndarray | None) -> ndarray:
    """(N,) int from 0: what is drawn as one, the group of each of `n` images or the image itself."""
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def image_weights(n: int, seed: int, resamples: int, groups: ndarray | None = None) -> Iterator[ndarray]:
    """(N,) float per resample: how often each of the `n` images was drawn, or each of their groups."""
    rng, units = np.random.default_rng(seed), unit_indices(n, groups)
    n_units = units.max() + 1
    for _ in range(resamples):
        yield np.bincount(rng.integers(n_units, size=n_units), minlength=n_units).astype(float)[units]


def _moderate(variance: float, fraction: float, df: float, n_alike: float) -> float:
    """The variance of a fraction, drawn a little towards that of `n_alike` images: few groups may agree by chance.

    That is its largest value, as if all images of a group were alike; it counts as `PRIOR_DF` degrees of freedom.
    """
    smoothed = (fraction * n_alike + 1) / (n_alike + 2)  # never 0 or 1
    return (df * variance + PRIOR_DF * smoothed * (1 - smoothed) / n_alike) / (df + PRIOR_DF)


def _wilson(fraction: float, variance: float, n_units: float, quantile: float) -> tuple[float, float]:
    """Wilson 1927: the score interval of a fraction of the number of images that explains its variance."""
    z2 = quantile**2
    n = fraction * (1 - fraction) / variance if variance and 0 < fraction < 1 else n_units
    middle = (fraction + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (fraction * (1 - fraction) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))
