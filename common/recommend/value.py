"""The value of short fine-tuning runs: by how much the expected regret falls per second.

K candidates, R rungs (lengths of runs; the last is a full run), F folds of held-out images. Scores are in points.
The score of a run of candidate k at rung r on fold f is y = b[k, r] + h[k, f] + noise:

- b[k, R - 1] is the true score of fine-tuning, with the prior of `Field`. With half of the steps, candidates change their places
  by N(0, kappa^2) and all of them their level by any amount, so only differences at the same rung count.
- h, the sampled images: shared in part by all candidates of a fold, in part by all runs of a candidate on it.
- noise: the seed, N(0, sigma_a^2), and the images on which runs of one candidate differ.

kappa, sigma_a and the scale of the prior are integrated over a grid, so the correlation between rungs and the noise of seeds are
measured as soon as runs show them. All else is Gaussian and closed. What observing some runs is worth is the knowledge gradient for
correlated beliefs (Frazier, Powell & Dayanik 2009, INFORMS J. Comput. 21:599), per second as in Chick & Inoue 2001 (Oper. Res. 49:732),
for sets of runs too, because one run alone may be worth nothing (Frazier & Powell 2010, Decision Anal. 7:378).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy import ndarray

from ..statistics import posterior
from ..statistics.intervals import unit_indices

# Priors, in points
LEVEL = 20.0  # SD of the level of a rung
KAPPA, KAPPA_LOG_SD = 0.7, 1.0  # median and log-SD of the change with half of the steps (benchmarks/short_runs.py)
KAPPAS = np.geomspace(0.1, 10, 7)
SEED_SDS = np.geomspace(0.1, 5, 7)
SCALES = {0.5: 0.25, 1.0: 0.5, 1.5: 0.25}  # of the prior's SD: probability
IMAGE_SD = 35.0  # of a single image, before any run: right or wrong at 85 %
PAIRED = 0.5  # correlation of two candidates over images, before any two runs
OPEN = 0.01  # P(best) below which a candidate is ruled out
NORMALS = 256  # and their negatives, of a look-ahead
WORTH = 0.02  # points of regret, below which a set of runs is not made
REPEATS = (1, 2)  # seeds of each candidate in a set of runs
Key = tuple[int, int, int]  # of a run: candidate, rung, seed


@dataclass(frozen=True)
class Field:
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

    field: Field
    mean: ndarray  # (J,)
    covariance: ndarray  # (J, J)
    noise: float  # variance of a run about its latent values
    kappa: float  # posterior mean
    draws: ndarray  # (D, K) of the true scores

    @property
    def scores(self) -> ndarray:
        """(K,) expected true scores; only their differences have a meaning."""
        return self.mean[_finals(self.field)]


def infer(field: Field, runs: Sequence[Run], seed: int = 0) -> Belief:
    """The posterior, from at least zero runs."""
    rows = _rows(field, [run.key for run in runs])
    y = np.array([run.scores.mean() for run in runs])
    single, between_seeds, shared = _image_variances(field, runs)
    settings, logs, means, covariances = [], [], [], []
    for (scale, p), kappa in product(SCALES.items(), KAPPAS):
        mean, prior = _prior(field, scale, kappa, between_seeds, shared)
        by_run, residual = prior @ rows.T, y - rows @ mean
        for sigma in SEED_SDS:
            noise = sigma**2 + single - between_seeds
            precision = np.linalg.inv(rows @ by_run + noise * np.eye(len(y)))
            logs.append(
                np.log(p)
                - (np.log(kappa / KAPPA) / KAPPA_LOG_SD) ** 2 / 2
                - (np.log(sigma / posterior.SEED_SD) / posterior.SEED_LOG_SD) ** 2 / 2
                + (np.linalg.slogdet(precision)[1] - residual @ precision @ residual) / 2
            )
            means.append(mean + by_run @ (precision @ residual))
            covariances.append(prior - by_run @ precision @ by_run.T)
            settings.append((noise, kappa))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    covariance = sum(
        w * (c + np.outer(m - mean, m - mean)) for w, m, c in zip(weights, means, covariances, strict=True)
    )
    noise, kappa = weights @ np.array(settings)
    draws = _draws(weights, means, covariances, _finals(field), seed)
    return Belief(field, mean, covariance, float(noise), float(kappa), draws)


def open_candidates(belief: Belief) -> list[int]:
    return np.flatnonzero(posterior.p_best(belief.draws) >= OPEN).tolist()


def value(belief: Belief, keys: Sequence[Key]) -> float:
    """Expected fall of the regret, in points, if these runs are observed."""
    rows, finals = _rows(belief.field, keys), _finals(belief.field)
    by_run = belief.covariance @ rows.T
    root = np.linalg.cholesky(rows @ by_run + belief.noise * np.eye(len(keys)))
    changes = np.linalg.solve(root, by_run[finals].T)  # (runs, K): of the expected scores, per SD
    half = np.random.default_rng(0).normal(size=(NORMALS, len(keys)))
    expected = belief.scores + np.concatenate((half, -half)) @ changes
    return float(expected.max(1).mean() - belief.scores.max())


def best_set(
    belief: Belief, runs: Sequence[Key], cost: Callable[[Key], float], seconds: float, allowed: Sequence[int]
) -> list[Key]:
    """The runs to observe next, of the highest value per second; empty if no set that is worth anything fits into `seconds`."""
    sets = _worthwhile(belief, runs, cost, allowed)
    fitting = [(gain / total, keys) for gain, total, keys in sets if total <= seconds]
    return max(fitting, default=(0, []), key=lambda rated: rated[0])[1]


def smallest_cost(
    belief: Belief, runs: Sequence[Key], cost: Callable[[Key], float], allowed: Sequence[int]
) -> float | None:
    """Seconds of the cheapest set that is worth anything; None: no set is."""
    return min((total for _, total, _ in _worthwhile(belief, runs, cost, allowed)), default=None)


def forecast(
    belief: Belief, runs: Sequence[Key], cost: Callable[[Key], float], allowed: Sequence[int], steps: int = 6
) -> Iterator[tuple[float, float]]:
    """(seconds, expected regret) after the next sets of runs, if all were chosen now; a lower bound on what a race gains."""
    regret = float(posterior.expected_regret(belief.draws).min())
    planned: list[Key] = []
    reduced = belief
    for _ in range(steps):
        keys = best_set(reduced, [*runs, *planned], cost, np.inf, allowed)
        if not keys:
            return
        planned += keys
        reduced = _observed(reduced, keys)
        yield sum(map(cost, planned)), max(0.0, regret - value(belief, planned))


def _worthwhile(
    belief: Belief, runs: Sequence[Key], cost: Callable[[Key], float], allowed: Sequence[int]
) -> list[tuple[float, float, list[Key]]]:
    """(value, seconds, runs) of every set of a value of `WORTH` or more."""
    sets = [(value(belief, keys), sum(map(cost, keys)), keys) for keys in _sets(belief, runs, allowed)]
    return [rated for rated in sets if rated[0] >= WORTH]


def _sets(belief: Belief, runs: Sequence[Key], allowed: Sequence[int]) -> Iterator[list[Key]]:
    """Runs at one rung of one candidate, of the leader and another one, or of all, each of which then has one or two seeds more
    than the one with the fewest has now."""
    leader = max(allowed, key=lambda k: belief.scores[k])
    others = [k for k in allowed if k != leader]
    groups = [[leader], *([k] for k in others), *([leader, k] for k in others)]
    if len(allowed) > 2:
        groups.append(list(allowed))
    seeds = Counter()
    for candidate, rung, seed in runs:
        seeds[candidate, rung] = max(seeds[candidate, rung], seed + 1)
    for rung, members, n in product(range(belief.field.rungs), groups, REPEATS):
        target = n + min(seeds[k, rung] for k in members)
        yield [(k, rung, seed) for k in members for seed in range(seeds[k, rung], target)]


def _finals(field: Field) -> ndarray:
    """(K,) positions of the true scores among the latent values."""
    return np.arange(len(field.mean)) * field.rungs + field.rungs - 1


def _rows(field: Field, keys: Sequence[Key]) -> ndarray:
    """(runs, J): the latent values that each run is the sum of."""
    k_rungs = len(field.mean) * field.rungs
    rows = np.zeros((len(keys), k_rungs + len(field.mean) * field.folds))
    for row, (candidate, rung, seed) in zip(rows, keys, strict=True):
        row[candidate * field.rungs + rung] = 1
        row[k_rungs + candidate * field.folds + seed % field.folds] = 1
    return rows


def _prior(field: Field, scale: float, kappa: float, between_seeds: float, shared: float) -> tuple[ndarray, ndarray]:
    """(J,) and (J, J) of the latent values."""
    k, rungs, folds = len(field.mean), field.rungs, field.folds
    halvings = np.log2(field.lengths[-1] / np.asarray(field.lengths))
    steps = np.minimum.outer(halvings, halvings)  # a random walk from the top
    b = scale**2 * np.kron(field.covariance, np.ones((rungs, rungs)))
    b += kappa**2 * np.kron(np.eye(k), steps) + LEVEL**2 * np.kron(np.ones((k, k)), np.eye(rungs))
    h = np.kron(shared * np.ones((k, k)) + (between_seeds - shared) * np.eye(k), np.eye(folds))
    covariance = np.block([[b, np.zeros((len(b), len(h)))], [np.zeros((len(h), len(b))), h]])
    return np.concatenate([np.repeat(field.mean, rungs), np.zeros(k * folds)]), covariance


def _image_variances(field: Field, runs: Sequence[Run]) -> tuple[float, float, float]:
    """Of the mean over a fold's images: variance of a run, covariance of runs of one candidate, and of two candidates."""
    if not runs:
        single = IMAGE_SD**2 / field.images
        return single, (1 + PAIRED) / 2 * single, PAIRED * single
    singles, same, different = [], [], []
    for fold in range(field.folds):
        members = [run for run in runs if run.seed % field.folds == fold]
        if not members:
            continue
        units = unit_indices(len(members[0].scores), members[0].groups)
        matrix = posterior.covariance_of_mean(np.array([run.scores for run in members]), units)
        singles += np.diag(matrix).tolist()
        for i, j in zip(*np.triu_indices(len(members), 1), strict=True):
            (same if members[i].candidate == members[j].candidate else different).append(matrix[i, j])
    single = np.mean(singles) + posterior.PSEUDO_IMAGES * (100 / field.images) ** 2
    shared = np.clip(np.mean(different) if different else PAIRED * single, 0, single)
    between_seeds = np.clip(np.mean(same) if same else (single + shared) / 2, shared, single)
    return float(single), float(between_seeds), float(shared)


def _observed(belief: Belief, keys: Sequence[Key]) -> Belief:
    """The belief with the covariance after these runs; it does not depend on their scores."""
    rows = _rows(belief.field, keys)
    by_run = belief.covariance @ rows.T
    precision = np.linalg.inv(rows @ by_run + belief.noise * np.eye(len(keys)))
    covariance = belief.covariance - by_run @ precision @ by_run.T
    return replace(belief, covariance=covariance)


def _draws(
    weights: ndarray, means: Sequence[ndarray], covariances: Sequence[ndarray], finals: ndarray, seed: int
) -> ndarray:
    """(D, K) of the true scores, from the mixture."""
    rng, draws = np.random.default_rng(seed), []
    counts = rng.multinomial(posterior.DRAWS, weights)
    for i in np.flatnonzero(counts):
        values, vectors = np.linalg.eigh(covariances[i][np.ix_(finals, finals)])
        z = rng.normal(size=(counts[i], len(finals)))
        draws.append(means[i][finals] + z * np.sqrt(values.clip(0)) @ vectors.T)
    return np.concatenate(draws)
