"""The race: the next run is worth most per second, rungs are correlated as measured, and it says what more time would buy."""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT

from common.recommend.race import belief as beliefs
from common.recommend.race import loop, value
from common.recommend.race import text as race_text
from common.recommend.race.belief import Key, Prior, Run
from common.statistics import posterior

IMAGES, RUNGS, FOLDS = 200, (0.25, 1.0), 2


class Simulated:
    """Candidates of known true accuracies (points) and costs (seconds of a full run)."""

    def __init__(self, truth: Sequence[float], costs: list[float], seed: int, between: float = 0.5, seeds: float = 0.5):
        self.rng, self.costs, k = np.random.default_rng(seed), costs, len(truth)
        self.truth, self.seeds = np.array(truth), seeds
        self.short = self.truth - 4 + self.rng.normal(0, between, k)
        self.images = self.rng.normal(size=(k, FOLDS, IMAGES)) * 0.5**0.5 + self.rng.normal(size=(FOLDS, IMAGES))
        self.made: list[Key] = []

    def prior(self) -> Prior:
        k = len(self.truth)
        return Prior(np.full(k, self.truth.mean()), 2.5**2 * np.eye(k), RUNGS, FOLDS, IMAGES)

    def train(self, key: Key) -> Run:
        candidate, rung, seed = key
        self.made.append(key)
        accuracy = (self.truth if rung else self.short)[candidate] + self.rng.normal(0, self.seeds)
        images = self.images[candidate, seed % FOLDS] + self.rng.normal(size=IMAGES) * 0.5**0.5
        threshold = np.quantile(self.images.ravel(), np.clip(accuracy / 100, 0, 1)) * (2 / 1.5) ** 0.5
        return Run(candidate, rung, seed, 100.0 * (images < threshold), self.cost(key))

    def cost(self, key: Key) -> float:
        return 1 + RUNGS[key[1]] * self.costs[key[0]]

    def race(self, seconds: float, tolerance: float = 0.3, done: list[Run] | None = None) -> loop.RaceResult:
        self.lines: list[str] = []
        return loop.race(setup(self, seconds, tolerance, done), done or [], set(), self.lines.append)


def setup(
    simulated: Simulated, seconds: float = 200, tolerance: float = 0.3, done: Sequence[Run] | None = None
) -> loop.Race:
    names, made = [f"net{k}" for k in range(len(simulated.truth))], list(done or [])

    def train(key: Key) -> Run | None:
        run = simulated.train(key)
        made.extend([run] if run else [])
        return run

    def spent() -> float:
        return sum(run.seconds for run in made)

    rates = [1, *[2] * (len(names) - 1)]
    return loop.Race(names, simulated.prior(), rates, train, simulated.cost, spent, str, seconds, tolerance)


def uniform(simulated: Simulated, seconds: float) -> int:
    """Full runs in turn; the best mean."""
    scores: list[list[float]] = [[] for _ in simulated.truth]
    for seed in range(100):
        for k, of_candidate in enumerate(scores):
            seconds -= simulated.cost((k, 1, seed))
            if seconds < 0:
                return int(np.argmax([np.mean(s) if s else 0 for s in scores]))
            of_candidate.append(simulated.train((k, 1, seed)).scores.mean())
    raise AssertionError


def test_its_regret_per_second_is_less_than_that_of_uniform_runs() -> None:
    regrets = []
    for seed in range(4, 8):
        rng = np.random.default_rng(100 + seed)
        truth, costs = rng.normal(85, 2, 6), np.exp(rng.uniform(np.log(5), np.log(40), 6)).tolist()
        best = int(Simulated(truth, costs, seed).race(60).regret.argmin())
        regrets.append([truth.max() - truth[k] for k in (best, uniform(Simulated(truth, costs, seed), 60))])
    ours, theirs = np.mean(regrets, axis=0)
    assert ours < 0.6 * theirs


def test_the_cheaper_of_equals_runs_first_and_no_run_is_worth_less_than_nothing() -> None:
    simulated = Simulated([85, 85, 85], [40, 10, 20], 0)
    belief = beliefs.infer(simulated.prior(), [])
    chosen = value.best_set(belief, [], simulated.cost, 1e9, [0, 1, 2])
    assert {key[1] for key in chosen} == {0} and min(chosen, key=simulated.cost)[0] == 1
    assert value.value(belief, [(0, 0, 0)]) == pytest.approx(0, abs=0.2), (
        "one run alone has nothing to be compared with"
    )
    assert value.value(belief, [(1, 0, 0), (2, 0, 0)]) > 0.5
    assert value.best_set(belief, [], simulated.cost, 1, [0, 1, 2]) == []


def test_the_correlation_of_rungs_is_measured() -> None:
    def kappa(between: float) -> float:
        simulated = Simulated([80, 82, 84, 86, 88], [10] * 5, 1, between, seeds=0.1)
        return beliefs.infer(simulated.prior(), [simulated.train((k, r, 0)) for k in range(5) for r in (0, 1)]).kappa

    assert kappa(between=0.1) < 2 < 3 < kappa(between=8)


def test_its_prior_is_measured() -> None:
    longest = json.loads((ROOT / "benchmarks" / "results" / "short_runs.json").read_text())[-1]
    assert (round(longest["median"], 1), round(longest["log_sd"], 1)) == (beliefs.KAPPA, beliefs.KAPPA_LOG_SD)


def test_an_interrupted_race_continues() -> None:
    whole, first = (Simulated([85, 84, 80], [10, 10, 20], 2) for _ in range(2))
    whole.race(60)
    done, train = [], first.train

    def interrupted(key: Key) -> Run:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(train(key))
        return done[-1]

    first.train = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.race(60)
    first.train = train
    assert [(r.candidate, r.rung, r.seed) for r in first.race(60, done=done).runs] == whole.made and len(whole.made) > 4
    assert all("next" in line and "expected loss" in line for line in whole.lines)


def test_it_ends_at_the_tolerance() -> None:
    result = Simulated([92, 80], [10, 10], 0).race(1e4)
    assert result.ended == "tolerance" and result.regret.min() <= 0.3 and result.p_best[0] > 0.8
    assert posterior.expected_regret(result.belief.draws)[1] > 4
    assert not Simulated([92, 80], [10, 10], 0).race(1e4, tolerance=100).runs


def test_a_candidate_whose_runs_fail_is_out() -> None:
    simulated = Simulated([95, 85, 84], [10] * 3, 0)
    train = simulated.train
    simulated.train = lambda key: None if key[0] == 0 else train(key)
    result = simulated.race(200)
    assert (
        result.failed == {0} and result.p_best[0] == 0 and "net0 is out of the race: its runs fail" in simulated.lines
    )
    shown = loop.as_json(setup(simulated), result, RUNGS)
    assert "net0 out: a run failed" in race_text.format_race(shown, "top1", 60)


def test_what_a_failed_candidate_finished_before_does_not_count() -> None:
    simulated = Simulated([95, 85, 84], [10] * 3, 0)
    runs = [simulated.train((k, rung, 0)) for k in range(3) for rung in (0, 1)]
    result = loop.race(setup(simulated, 0, done=runs), runs, {0}, simulated.made.append)
    others = [run for run in runs if run.candidate]
    kappa = beliefs.infer(simulated.prior(), others).kappa
    printed = race_text.format_race(loop.as_json(setup(simulated), result, RUNGS), "top1", 60)
    assert "net0 out: a run failed" in printed and "4 short fine-tuning runs" in printed and "measured on 2" in printed
    assert result.p_best[0] == 0 and result.belief.kappa == pytest.approx(kappa, abs=0.05)
    assert beliefs.infer(replace(simulated.prior(), mean=np.array([-12.0, 88, 88])), runs).kappa > 2 * kappa


def test_the_only_one_whose_runs_do_not_fail() -> None:
    rows = [
        {"name": name, "regret": 0.0, "p_best": 1.0 - failed, "failed": bool(failed)}
        for failed, name in enumerate("ab")
    ]
    printed = race_text.advice({"backbones": rows, "ended": "tolerance", "tolerance": 0.003, "more": None})
    assert printed == "Take a: the runs of all others failed."


def test_runs_that_fail_take_their_time() -> None:
    simulated = Simulated([95, 85, 84], [10] * 3, 0)
    train = simulated.train
    simulated.train = lambda key: None if key[0] == 0 else train(key)
    lines: list[str] = []
    base = setup(simulated, 50)
    failing = replace(base, spent=lambda: base.spent() + 100 * any("its runs fail" in line for line in lines))
    result = loop.race(failing, [], set(), lines.append)
    assert result.failed == {0} and result.ended == "time" and result.spent == 100 + sum(r.seconds for r in result.runs)


def test_scores_name_their_images_and_runs() -> None:
    simulated = Simulated([85, 84], [10] * 2, 0)
    runs = [simulated.train(key) for key in ((0, 0, 0), (0, 1, 0), (0, 1, 1), (1, 0, 0))]
    belief = beliefs.infer(simulated.prior(), runs)
    result = loop.RaceResult(runs, set(), belief, "tolerance", sum(run.seconds for run in runs), None, None)
    shown = loop.as_json(setup(simulated), result, RUNGS)
    printed = race_text.format_race(shown, "top1", 60)
    expected = "Learning rates: measured before (1 backbone), the better of two at each length (1 backbone)."
    assert expected in printed
    assert f" % in its 2 longest runs ({2 * IMAGES} images); P(best)" in printed
    assert f" % in its longest run ({IMAGES} images); P(best)" in printed and "compare expected losses" in printed


@pytest.mark.parametrize(
    ("ended", "run_seconds", "reason"),
    [
        ("tolerance", 360, "the tolerance was reached without it"),
        ("exhausted", 10, "it would hardly lower the loss"),
        ("time", 600, "one run takes about 10 min, and the race had 8 min"),
        ("time", 60, "others lowered the loss by more per second, until 26 s were left; one run takes about 60 s"),
        ("time", 10, "others lowered the loss by more per second; one run takes about 10 s"),
    ],
)
def test_why_a_candidate_did_not_run(ended: str, run_seconds: float, reason: str) -> None:
    """It is what happened in the race, not what is left of it."""
    row = {"failed": False, "p_best": 0.04, "regret": 0.03, "run_seconds": run_seconds}
    state = {"ended": ended, "seconds": 474, "seconds_allowed": 500}
    assert race_text._reason(row, state) == f"not run: {reason}; P(best) 0.04"


def test_the_advice_claims_nothing_about_more_images() -> None:
    row = {"name": "a", "regret": 0.01, "p_best": 0.5}
    printed = race_text.advice({"backbones": [row], "ended": "exhausted", "more": None, "tolerance": 0.003})
    assert printed.endswith("; more time would hardly lower it.") and "images" not in printed


def test_a_budget_too_small_says_what_would_be_enough() -> None:
    simulated = Simulated([85, 85], [100, 200], 0)
    result = simulated.race(20)
    assert result.ended == "time" and not result.runs and result.smallest > 20
    text = race_text.format_race(loop.as_json(setup(simulated, 20), result, RUNGS), "top1", 60)
    assert "No backbone was fine-tuned: 20 s of --budget" in text and "--budget 2m would be enough" in text


def test_what_more_time_would_buy() -> None:
    simulated = Simulated([85, 85.5, 84], [10, 10, 30], 3)
    result = simulated.race(60)
    assert result.ended == "time" and result.more[0] > 0 and result.more[1] < result.regret.min()
    text = race_text.format_race(loop.as_json(setup(simulated, 60), result, RUNGS), "top1", 60)
    assert "Take net" in text and "more would bring it to 0." in text and "no test image is used" in text
    assert ("one seed each" in text) == (max(key[2] for key in simulated.made) == 0)
    two = {key[0] for key in simulated.made if key[1] == 0} & {key[0] for key in simulated.made if key[1] == 1}
    source = f"measured on {len(two)} backbones" if len(two) > 1 else "assumed: fewer than two have runs of two lengths"
    assert source in text
