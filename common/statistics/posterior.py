"""The true scores of fine-tuned candidates, as far as test images and training seeds determine them.

K candidates, S seeds of training, N test images, R draws. The mean score of a run is m[k, s] = mu[k] + a[k, s] + e[k, s]:

- e, the images: the covariance over candidates of the scores per image, seeds averaged, divided by N. Groups of
  images (of a patient, of a clip) are sampled as a whole.
- a ~ N(0, sigma_a^2), the seeds: the variation between training runs. Candidates with two seeds or more inform
  sigma_a, in addition to a log-normal prior; with one seed each, only the prior determines it.
- mu[k] ~ N(common mean, tau^2), tau half-normal: the best of many scores is biased upwards, and this prior shrinks it.

sigma_a and tau are integrated over a grid; all else is Gaussian and closed (Gelman et al. 2013, Bayesian Data Analysis,
section 5.4). How well calibrated it is: docs/statistics.md.
"""

import numpy as np
from numpy import ndarray

from .intervals import unit_indices

# The priors, in points: hundredths of accuracy
SEED_SD, SEED_LOG_SD = 0.5, 0.6  # median and log-SD of sigma_a
SPREAD = 3.0  # scale of tau
SIGMA_A = np.geomspace(0.05, 5, 15)
TAU = np.geomspace(0.1, 30, 15)
ACCURACY_SD = 0.357  # over images, at 85 %
ROUNDING = 1e-9  # SD, relative to the largest score, below which scores are constant
PSEUDO_IMAGES = 0.5  # that only this candidate gets wrong: no accuracy is certain
DRAWS = 20_000
MARGIN = 0.005  # half a point
EQUIVALENT = 0.8  # P(at most MARGIN below the best) from which a candidate is called practically equivalent


def posterior(scores: ndarray, seed: int = 0, groups: ndarray | None = None, point: float | None = None) -> ndarray:
    """Draws from the posterior of the candidates' true mean scores.

    Args:
        scores: (K, S, N) score per image, higher is better: 0 or 1 for wrong or right, or any other, such as minus the
            loss. Where a slice [k, s] is NaN, candidate k has no such seed. Copies of a run are no further seeds: leave them out.
        seed: of the draws.
        groups: (N,) the group of each image; None: images are independent.
        point: the size of a point of these scores, the unit of the priors; None: 0.01 if they are 0 or 1, else the same
            fraction of their SD.

    Returns:
        (R, K) draws of mu.

    Raises:
        ValueError: other shapes; a point that is not positive; fewer than two images or groups; a candidate without a seed; a
            score that is not finite.
    """
    scores = np.asarray(scores, float)
    _check_arguments(scores, groups, point)
    present = ~np.isnan(scores).all(2)
    units = unit_indices(scores.shape[2], groups)
    _check_scores(scores, present, units)
    scale = point or _scale(scores[present])
    scores = scores / scale
    by_image = np.nanmean(scores, axis=1)
    means, pseudo = by_image.mean(1), PSEUDO_IMAGES / (0.01 * (units.max() + 1)) ** 2
    images = covariance_of_mean(by_image, units) + pseudo * np.eye(len(means))
    sampling = images + SIGMA_A[:, None, None] ** 2 * np.diag(1 / present.sum(1))
    log_weights = _log_evidence(means, sampling[:, None] + TAU[:, None, None] ** 2 * np.eye(len(means)))
    log_weights += (_log_seed_prior(SIGMA_A) + _log_seed_likelihood(scores, present, units))[:, None]
    log_weights += np.log(TAU) - (TAU / SPREAD) ** 2 / 2  # on a geometric grid a density needs its Jacobian
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(DRAWS, weights.ravel() / weights.sum()).reshape(weights.shape)
    draws = [_sample(means, sampling[i], TAU[j], counts[i, j], rng) for i, j in np.argwhere(counts)]
    return scale * rng.permutation(np.concatenate(draws))


def p_best(draws: ndarray) -> ndarray:
    """(R, K) -> (K,): P(the candidate is the best), which sums to one."""
    return np.bincount(draws.argmax(1), minlength=draws.shape[1]) / len(draws)


def p_equivalent(draws: ndarray, margin: float = MARGIN) -> ndarray:
    """(R, K) -> (K,): P(the candidate is at most `margin` below the best one)."""
    return (draws >= draws.max(1, keepdims=True) - margin).mean(0)


def expected_regret(draws: ndarray) -> ndarray:
    """(R, K) -> (K,): the mean loss of the candidate against the best one, in the score's unit."""
    return (draws.max(1, keepdims=True) - draws).mean(0)


def _check_arguments(scores: ndarray, groups: ndarray | None, point: float | None) -> None:
    if scores.ndim != 3 or not scores.size:
        raise ValueError(f"expected scores of shape (K, S, N), found {scores.shape}")
    if groups is not None and np.shape(groups) != scores.shape[2:]:
        raise ValueError(f"expected a group for each of {scores.shape[2]} images, found {np.shape(groups)}")
    if point is not None and not point > 0:
        raise ValueError(f"expected a positive point, found {point}")


def _check_scores(scores: ndarray, present: ndarray, units: ndarray) -> None:
    if not present.any(1).all():
        raise ValueError(f"candidate {int(present.any(1).argmin())} has no seed")
    bad = ~np.isfinite(scores) & present[..., None]
    if bad.any():
        candidate, seed, _ = np.argwhere(bad)[0]
        raise ValueError(f"{bad.sum()} scores are not finite, the first of candidate {candidate}, seed {seed}")
    if units.max() < 1:
        raise ValueError("one image, or one group of images, gives no variance: at least two are needed")


def _scale(scores: ndarray) -> float:
    """The size of a point of these (M, N) scores: 0.01 if they are 0 or 1, else the same fraction of their SD."""
    sd = scores.std(1).mean()
    is_constant = sd <= ROUNDING * np.abs(scores).max()
    return 0.01 if np.isin(scores, (0, 1)).all() or is_constant else 0.01 * sd / ACCURACY_SD


def covariance_of_mean(scores: ndarray, units: ndarray) -> ndarray:
    """(M, N) scores per image -> (M, M) covariance of their means, if units (N,) int from 0 are a sample of all units."""
    n_units = units.max() + 1
    totals = np.zeros((n_units, len(scores)))
    np.add.at(totals, units, (scores - scores.mean(1, keepdims=True)).T)
    return totals.T @ totals / scores.shape[1] ** 2 * n_units / max(1, n_units - 1)


def _log_seed_prior(sigma_a: ndarray) -> ndarray:
    """Log-normal density times the Jacobian of a geometric grid."""
    return -((np.log(sigma_a / SEED_SD) / SEED_LOG_SD) ** 2) / 2


def _log_seed_likelihood(scores: ndarray, present: ndarray, units: ndarray) -> ndarray:
    """(G,) for the grid of sigma_a: from the differences between a candidate's seeds, less those due to the images."""
    result = np.zeros(len(SIGMA_A))
    for runs in (scores[k, present[k]] for k in range(len(scores))):
        n = len(runs) - 1
        if n:
            flips = np.trace(covariance_of_mean(runs - runs.mean(0), units)) / n
            variance = SIGMA_A**2 + flips
            result -= n / 2 * (np.log(variance) + runs.mean(1).var(ddof=1) / variance)
    return result


def _log_evidence(means: ndarray, covariance: ndarray) -> ndarray:
    """(...) log density of the (K,) means under (..., K, K) covariances, their common mean integrated out (flat prior)."""
    precision = np.linalg.inv(covariance)
    totals = precision.sum((-2, -1))
    residual = means - (precision.sum(-2) @ means / totals)[..., None]
    distance = (residual[..., None, :] @ precision @ residual[..., None])[..., 0, 0]
    return (np.linalg.slogdet(precision)[1] - np.log(totals) - distance) / 2


def _sample(means: ndarray, sampling: ndarray, tau: float, n: int, rng: np.random.Generator) -> ndarray:
    """(n, K) draws of mu, given both scales."""
    precision = np.linalg.inv(sampling + tau**2 * np.eye(len(means)))
    total = precision.sum()
    centre = rng.normal(precision.sum(0) @ means / total, total**-0.5, (n, 1))
    shrunk = centre + tau**2 * (means - centre) @ precision
    covariance = tau**2 * (np.eye(len(means)) - tau**2 * precision)
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return shrunk + rng.normal(size=(n, len(means))) * np.sqrt(values.clip(0)) @ vectors.T
