"""What short fine-tuning runs say about the candidates: a hierarchical model of scores over lengths, folds and seeds.

K candidates, R rungs (lengths of runs; the last is a full run), F folds of held-out images. Scores are in points.
The score of a run of candidate k at rung r on fold f is y = b[k, r] + h[k, f] + noise:

- b[k, R - 1] is the true score of fine-tuning, a priori that of `Prior`. With half of the steps, candidates change their places
  by N(0, kappa^2) and all of them their level by any amount, so only differences at the same rung count.
- h, the sampled images: shared in part by all candidates of a fold, in part by all runs of a candidate on it.
- noise: the seed, N(0, sigma_a^2), and the images on which runs of one candidate differ.

kappa, sigma_a and the scale of the prior are integrated over a grid, so the correlation between rungs and the noise of seeds are
measured as soon as runs show them. All else is Gaussian and closed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy import ndarray

from ...statistics import posterior
from ...statistics.intervals import unit_indices

# Priors, in points
LEVEL = 20.0  # SD of the level of a rung
KAPPA, KAPPA_LOG_SD = 0.7, 1.0  # median and log-SD of the change with half of the steps (benchmarks/short_runs.py)
KAPPAS = np.geomspace(0.1, 10, 7)
SEED_SDS = np.geomspace(0.1, 5, 7)
SCALES = {0.5: 0.25, 1.0: 0.5, 1.5: 0.25}  # of the prior's SD: probability
IMAGE_SD = 35.0  # of a single image, before any run: right or wrong at 85 %
PAIRED = 0.5  # correlation of two candidates over images, before any two runs
OPEN = 0.01  # P(best) below which a candidate is ruled out
Key = tuple[int, int, int]  # of a run: candidate, rung, seed


@dataclass(frozen=True)
class Prior:
    """The candidates before the race, and the images that score their runs."""

    mean: ndarray  # (K,) expected fine-tuned scores
    covariance: ndarray  # (K, K)
    lengths: Sequence[float]  # (R,) of the runs, in any unit, ascending
    folds: int
    images: int  # of a fold

    @property
    def rungs(self) -> int:
        return len(self.lengths)


@dataclass(frozen=True)
class Run:
    candidate: int
    rung: int
    seed: int  # the fold is seed modulo the number of folds
    scores: ndarray  # (N,) per image of its fold
    seconds: float
    groups: ndarray | None = None  # (N,) of these images

    @property
    def key(self) -> Key:
        return self.candidate, self.rung, self.seed


@dataclass(frozen=True)
class Belief:
    """The posterior after the runs so far; latent values are b (K R) and h (K F), in this order."""

    prior: Prior
    mean: ndarray  # (J,)
    covariance: ndarray  # (J, J)
    noise: float  # variance of a run about its latent values
    kappa: float  # posterior mean
    draws: ndarray  # (D, K) of the true scores

    @property
    def scores(self) -> ndarray:
        """(K,) expected true scores; only their differences have a meaning."""
        return self.mean[final_positions(self.prior)]


def infer(prior: Prior, runs: Sequence[Run], seed: int = 0) -> Belief:
    """The posterior, from at least zero runs."""
    rows = latent_rows(prior, [run.key for run in runs])
    y = np.array([run.scores.mean() for run in runs])
    single, between_seeds, shared = _image_variances(prior, runs)
    settings, logs, means, covariances = [], [], [], []
    for (scale, p), kappa in product(SCALES.items(), KAPPAS):
        start, spread = _latent_prior(prior, scale, kappa, between_seeds, shared)
        by_run, residual = spread @ rows.T, y - rows @ start
        for sigma in SEED_SDS:
            noise = sigma**2 + single - between_seeds
            precision = np.linalg.inv(rows @ by_run + noise * np.eye(len(y)))
            logs.append(
                np.log(p)
                - (np.log(kappa / KAPPA) / KAPPA_LOG_SD) ** 2 / 2
                - (np.log(sigma / posterior.SEED_SD) / posterior.SEED_LOG_SD) ** 2 / 2
                + (np.linalg.slogdet(precision)[1] - residual @ precision @ residual) / 2
            )
            means.append(start + by_run @ (precision @ residual))
            covariances.append(spread - by_run @ precision @ by_run.T)
            settings.append((noise, kappa))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    covariance = sum(
        w * (c + np.outer(m - mean, m - mean)) for w, m, c in zip(weights, means, covariances, strict=True)
    )
    noise, kappa = weights @ np.array(settings)
    draws = _draws(weights, means, covariances, final_positions(prior), seed)
    return Belief(prior, mean, covariance, float(noise), float(kappa), draws)


def open_candidates(belief: Belief) -> list[int]:
    """Those that are not ruled out."""
    return np.flatnonzero(posterior.p_best(belief.draws) >= OPEN).tolist()


def _latent_prior(
    prior: Prior, scale: float, kappa: float, between_seeds: float, shared: float
) -> tuple[ndarray, ndarray]:
    """(J,) and (J, J) of the latent values."""
    k, rungs, folds = len(prior.mean), prior.rungs, prior.folds
    halvings = np.log2(prior.lengths[-1] / np.asarray(prior.lengths))
    steps = np.minimum.outer(halvings, halvings)  # a random walk from the top
    b = scale**2 * np.kron(prior.covariance, np.ones((rungs, rungs)))
    b += kappa**2 * np.kron(np.eye(k), steps) + LEVEL**2 * np.kron(np.ones((k, k)), np.eye(rungs))
    h = np.kron(shared * np.ones((k, k)) + (between_seeds - shared) * np.eye(k), np.eye(folds))
    covariance = np.block([[b, np.zeros((len(b), len(h)))], [np.zeros((len(h), len(b))), h]])
    return np.concatenate([np.repeat(prior.mean, rungs), np.zeros(k * folds)]), covariance


def _image_variances(prior: Prior, runs: Sequence[Run]) -> tuple[float, float, float]:
    """Of the mean over a fold's images: variance of a run, covariance of runs of one candidate, and of two candidates."""
    if not runs:
        single = IMAGE_SD**2 / prior.images
        return single, (1 + PAIRED) / 2 * single, PAIRED * single
    singles, same, different = [], [], []
    for fold in range(prior.folds):
        members = [run for run in runs if run.seed % prior.folds == fold]
        if not members:
            continue
        units = unit_indices(len(members[0].scores), members[0].groups)
        matrix = posterior.covariance_of_mean(np.array([run.scores for run in members]), units)
        singles += np.diag(matrix).tolist()
        for i, j in zip(*np.triu_indices(len(members), 1), strict=True):
            (same if members[i].candidate == members[j].candidate else different).append(matrix[i, j])
    single = np.mean(singles) + posterior.PSEUDO_IMAGES * (100 / prior.images) ** 2
    shared = np.clip(np.mean(different) if different else PAIRED * single, 0, single)
    between_seeds = np.clip(np.mean(same) if same else (single + shared) / 2, shared, single)
    return float(single), float(between_seeds), float(shared)


def _draws(
    weights: ndarray, means: Sequence[ndarray], covariances: Sequence[ndarray], top: ndarray, seed: int
) -> ndarray:
    """(D, K) of the true scores, from the mixture."""
    rng, draws = np.random.default_rng(seed), []
    counts = rng.multinomial(posterior.DRAWS, weights)
    for i in np.flatnonzero(counts):
        values, vectors = np.linalg.eigh(covariances[i][np.ix_(top, top)])
        z = rng.normal(size=(counts[i], len(top)))
        draws.append(means[i][top] + z * np.sqrt(values.clip(0)) @ vectors.T)
    return np.concatenate(draws)


def final_positions(prior: Prior) -> ndarray:
    """(K,) positions of the true scores among the latent values."""
    return np.arange(len(prior.mean)) * prior.rungs + prior.rungs - 1


def latent_rows(prior: Prior, keys: Sequence[Key]) -> ndarray:
    """(runs, J): the latent values that each run is the sum of."""
    k_rungs = len(prior.mean) * prior.rungs
    rows = np.zeros((len(keys), k_rungs + len(prior.mean) * prior.folds))
    for row, (candidate, rung, seed) in zip(rows, keys, strict=True):
        row[candidate * prior.rungs + rung] = 1
        row[k_rungs + candidate * prior.folds + seed % prior.folds] = 1
    return rows
