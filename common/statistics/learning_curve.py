"""The gain of twice the training images, extrapolated from scores at several fractions of them.

Power law (Hestness et al. 2017, arXiv 1712.00409; Cortes et al. 1993): error(n) = a + b n^-c, so that every doubling gains r = 2^-c of the
gain before it, whatever a is. The S - 1 measured gains determine the next one, g: with sizes n that double they are g r^(i + 1 - S), in general
g (r^log2(n[i] / n[S]) - r^log2(n[i + 1] / n[S])) / (1 - r). Their errors are Gaussian:
the covariance over test images, plus `MISFIT` for the law's own inaccuracy. r is integrated over a grid with a prior,
g >= 0 in closed form. How often the interval holds: docs/recommend.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import log_ndtr
from scipy.stats import truncnorm

from .intervals import unit_indices
from .posterior import covariance_of_mean

R_MEAN, R_SD = 0.72, 0.12  # prior of r, truncated to (0, 1)
R = np.linspace(0.2, 0.99, 80)
MISFIT = 0.15  # standard error of a probe's gain due to the law, as a fraction of it
NOISE = 0.003  # standard error of a probe's gain due to the choice of training images, as a fraction
DRAWS = 10_000


@dataclass(frozen=True)
class Gain:
    """Of twice the images, as a fraction: 0.02 is two points."""

    mean: float
    interval: tuple[float, float]  # holds 95 %


def gain_of_doubling(
    scores: ndarray,
    groups: ndarray | None = None,
    seed: int = 0,
    noise: float = NOISE,
    misfit: float = MISFIT,
    sizes: Sequence[float] = (),
) -> Gain:
    """Extrapolate scores per image (S, N), from classifiers of more and more training images, to twice the most of them.

    Args:
        scores: right or wrong, or fractions of several runs, whose means are at most 1; S >= 3.
        groups: (N,) the group of each image; None: images are independent.
        seed: of the draws.
        noise: standard error of a gain due to the choice of training images and the seed, as a fraction; the default is a probe's.
            Successive gains share a classifier, so these errors are correlated by -1/2.
        misfit: standard error of a gain due to the law, as a fraction of it; the default is a probe's.
        sizes: (S,) numbers of training images, ascending, in any unit; each twice the one before if not given.

    Raises:
        ValueError: fewer than three rows.
    """
    if len(scores) < 3:
        raise ValueError(f"expected the scores of three training set sizes or more, found {len(scores)}")
    differences = np.diff(np.asarray(scores, float), axis=0)
    gains = differences.mean(1)
    covariance = covariance_of_mean(differences, unit_indices(differences.shape[1], groups))
    neighbours = np.eye(len(gains), k=1) + np.eye(len(gains), k=-1)
    covariance += noise**2 * (np.eye(len(gains)) - neighbours / 2) + np.diag((misfit * gains) ** 2)
    precision = np.linalg.inv(covariance)
    doublings = np.log2(np.asarray(sizes) / sizes[-1]) if len(sizes) else np.arange(1 - len(scores), 1)
    # (R, S - 1): the gains relative to the next one
    shape = -np.diff(R[:, None] ** doublings, axis=1) / (1 - R[:, None])
    information = np.einsum("ri,ij,rj->r", shape, precision, shape)
    estimate = shape @ precision @ gains / information
    sd = information**-0.5
    distance = gains @ precision @ gains - information * estimate**2
    log_weights = -((R - R_MEAN) ** 2) / (2 * R_SD**2) - distance / 2 + np.log(sd) + log_ndtr(estimate / sd)
    log_weights -= len(gains) / 2 * np.log(R)  # a flat prior on the gain in the middle, not on the next one
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(R), DRAWS, p=weights / weights.sum())
    estimate, sd = estimate[drawn], sd[drawn]
    draws = truncnorm.rvs(-estimate / sd, np.inf, estimate, sd, random_state=rng)
    draws = np.minimum(draws, 1 - np.mean(scores[-1]))  # nothing is gained beyond a score of 1
    low, high = np.quantile(draws, (0.025, 0.975))
    return Gain(float(draws.mean()), (float(low), float(high)))
