"""The race: short fine-tuning runs, each where the expected regret falls most per second.

It ends when the expected regret of the choice is within the tolerance, or when no run that helps fits into the time left. Runs are
those of `train`, a plain function, so a race can be simulated. No test image is part of it.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy import ndarray

from ...statistics import posterior
from . import value
from .belief import Belief, Key, Prior, Run, infer, open_candidates

TOLERANCE = 0.3  # points
FAILED = 100.0  # expected loss in points of a candidate whose runs failed


@dataclass(frozen=True)
class Race:
    """K candidates and how their runs are made."""

    names: Sequence[str]
    prior: Prior
    rates: Sequence[int]  # (K,) learning rates tried at each length
    train: Callable[[Key], Run | None]  # None: the candidate's runs fail
    cost: Callable[[Key], float]  # expected seconds
    spent: Callable[[], float]  # seconds of all runs so far, failed ones included
    describe: Callable[[Key], str]  # of a run
    seconds: float  # for all runs, finished and failed ones included
    tolerance: float = TOLERANCE  # points


@dataclass(frozen=True)
class RaceResult:
    runs: Sequence[Run]
    failed: Collection[int]
    belief: Belief
    ended: str  # tolerance, time or exhausted
    spent: float  # seconds
    smallest: float | None  # seconds of the cheapest set of runs that is worth anything; None: there is none
    more: tuple[float, float] | None  # seconds, and the expected regret after them

    @cached_property
    def regret(self) -> ndarray:
        """(K,) expected loss against the best, in points."""
        return posterior.expected_regret(self.belief.draws)

    @cached_property
    def p_best(self) -> ndarray:
        return posterior.p_best(self.belief.draws)


def race(setup: Race, done: Sequence[Run], failed: Collection[int], log: Callable[[str], None]) -> RaceResult:
    """Run after run; `done` and `failed` are of an interrupted race."""
    runs, failed = list(done), set(failed)
    while True:
        belief = _infer(setup.prior, runs, failed)
        spent = setup.spent()
        allowed = _allowed(belief, failed)
        chosen: list[Key] = []
        is_certain = posterior.expected_regret(belief.draws).min() <= setup.tolerance
        if not is_certain:
            keys = [run.key for run in runs]
            chosen = value.best_set(belief, keys, setup.cost, setup.seconds - spent, allowed)
        if not chosen:
            return _result(setup, runs, failed, belief, is_certain)
        key = min(chosen, key=setup.cost)
        log(_progress(setup, belief, allowed, spent, key))
        if (run := setup.train(key)) is None:
            failed.add(key[0])
            log(f"{setup.names[key[0]]} is out of the race: its runs fail")
        else:
            runs.append(run)


def _infer(prior: Prior, runs: Sequence[Run], failed: Collection[int]) -> Belief:
    """The posterior, in which those that failed are far behind, whatever runs they finished before."""
    mean = prior.mean.copy()
    mean[list(failed)] -= FAILED
    return infer(replace(prior, mean=mean), [run for run in runs if run.candidate not in failed])


def _allowed(belief: Belief, failed: Collection[int]) -> list[int]:
    """The candidates of further runs."""
    return [k for k in open_candidates(belief) if k not in failed]


def _result(setup: Race, runs: Sequence[Run], failed: Collection[int], belief: Belief, is_certain: bool) -> RaceResult:
    """With the expected gain of more time, unless the tolerance is reached."""
    keys, allowed = [run.key for run in runs], _allowed(belief, failed)
    steps = [] if is_certain else list(value.forecast(belief, keys, setup.cost, allowed))
    smallest = None if is_certain else value.smallest_cost(belief, keys, setup.cost, allowed)
    return RaceResult(
        runs=runs,
        failed=failed,
        belief=belief,
        ended="tolerance" if is_certain else "time" if smallest else "exhausted",
        spent=setup.spent(),
        smallest=smallest,
        more=next((step for step in steps if step[1] <= setup.tolerance), steps[-1] if steps else None),
    )


def _progress(setup: Race, belief: Belief, allowed: Sequence[int], spent: float, key: Key) -> str:
    """The state of the race: its leader, the candidates that may be the best, and the next run."""
    regret, p = posterior.expected_regret(belief.draws), posterior.p_best(belief.draws)
    leader = int(regret.argmin())
    shown = sorted(allowed, key=lambda k: -p[k])
    open_ones = ", ".join(f"{setup.names[k]} {p[k]:.2f}" for k in shown[:4])
    more = f" and {len(shown) - 4} others" if len(shown) > 4 else ""
    return (
        f"race, {spent:.0f} of {setup.seconds:.0f} s: take {setup.names[leader]}, expected loss {regret[leader]:.1f} points; "
        f"P(best) {open_ones}{more}; next {setup.describe(key)}, about {setup.cost(key):.0f} s"
    )


def as_json(setup: Race, result: RaceResult, fractions: Sequence[float]) -> dict[str, Any]:
    """The field `race` of an answer: scores and losses as fractions, the best first."""
    order = np.argsort(result.regret)
    rows = []
    for k in order.tolist():
        members = [run for run in result.runs if run.candidate == k]
        top = max((run.rung for run in members), default=None)
        longest = [run.scores for run in members if run.rung == top]
        rows.append(
            {
                "name": setup.names[k],
                "p_best": float(result.p_best[k]),
                "regret": None if k in result.failed else float(result.regret[k] / 100),
                "runs": {f"{fractions[r]:g}": sum(run.rung == r for run in members) for r in range(len(fractions))},
                "score": float(np.mean([scores.mean() for scores in longest]) / 100) if members else None,
                "images": sum(map(len, longest)),
                "seconds": sum(run.seconds for run in members),
                "failed": k in result.failed,
                "rates": setup.rates[k],
                "run_seconds": float(setup.cost((k, 0, 0))),
            }
        )
    return {
        "backbones": rows,
        "ended": result.ended,
        "tolerance": setup.tolerance / 100,
        "seconds": result.spent,
        "seconds_allowed": setup.seconds,
        "smallest_seconds": result.smallest,
        "more": result.more and {"seconds": result.more[0], "regret": result.more[1] / 100},
        "between_rungs": result.belief.kappa / 100,
    }
