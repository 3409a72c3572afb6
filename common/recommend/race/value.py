"""The value of short fine-tuning runs: by how much the expected regret falls per second.

It is the knowledge gradient for correlated beliefs (Frazier, Powell & Dayanik 2009, INFORMS J. Comput. 21:599), per second as in
Chick & Inoue 2001 (Oper. Res. 49:732), for sets of runs too, because one run alone may be worth nothing (Frazier & Powell 2010,
Decision Anal. 7:378).
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from ...statistics import posterior
from .belief import Belief, Key, final_positions, latent_rows

NORMALS = 256  # and their negatives, of a look-ahead
WORTH = 0.02  # points of regret, below which a set of runs is not made
REPEATS = (1, 2)  # seeds of each candidate in a set of runs


def value(belief: Belief, keys: Sequence[Key]) -> float:
    """Expected fall of the regret, in points, if these runs are observed."""
    rows, top = latent_rows(belief.prior, keys), final_positions(belief.prior)
    by_run = belief.covariance @ rows.T
    root = np.linalg.cholesky(rows @ by_run + belief.noise * np.eye(len(keys)))
    changes = np.linalg.solve(root, by_run[top].T)  # (runs, K): of the expected scores, per SD
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
    """Sets of runs at one rung: of one candidate, of the leader and another, or of all.

    Each gives all its candidates one or two seeds more than the one with the fewest has.
    """
    leader = max(allowed, key=lambda k: belief.scores[k])
    others = [k for k in allowed if k != leader]
    groups = [[leader], *([k] for k in others), *([leader, k] for k in others)]
    if len(allowed) > 2:
        groups.append(list(allowed))
    seeds: dict[tuple[int, int], int] = defaultdict(int)  # of a candidate at a rung, so far
    for candidate, rung, seed in runs:
        seeds[candidate, rung] = max(seeds[candidate, rung], seed + 1)
    for rung, members, n in product(range(belief.prior.rungs), groups, REPEATS):
        target = n + min(seeds[k, rung] for k in members)
        yield [(k, rung, seed) for k in members for seed in range(seeds[k, rung], target)]


def _observed(belief: Belief, keys: Sequence[Key]) -> Belief:
    """The belief with the covariance after these runs; it does not depend on their scores."""
    rows = latent_rows(belief.prior, keys)
    by_run = belief.covariance @ rows.T
    precision = np.linalg.inv(rows @ by_run + belief.noise * np.eye(len(keys)))
    covariance = belief.covariance - by_run @ precision @ by_run.T
    return replace(belief, covariance=covariance)
