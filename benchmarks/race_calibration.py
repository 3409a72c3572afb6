"""Is what a race states true? Simulated races: P(best) and expected loss after some seconds, and what the choice loses.

    python benchmarks/race_calibration.py [--races 25]

A full run of the first candidate costs 10 s, of each further one 5 s more; runs are a quarter, half or all of it, scored on one of five folds of 100
images, right or wrong. The SD of seeds and the change with half of the steps (kappa) are drawn from the priors of the race ("as assumed"), or are both
twice the medians ("twice"). A line of `results/race_calibration.jsonl` per race; another start continues there.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.special import ndtri
from scipy.stats import sem

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.recommend.race import belief, loop
from common.recommend.race.belief import Key, Prior, Run
from common.statistics import posterior

OUT = ROOT / "benchmarks" / "results" / "race_calibration.jsonl"
LENGTHS = (0.25, 0.5, 1.0)
FOLDS, IMAGES = 5, 100
ACCURACY, PRIOR_SD = 85.0, 2.4  # points; of the candidates, as the race assumes
SPREAD = {4: 1.5, 8: 2.0}  # candidates: true SD
SECONDS = (40, 80, 160, 320)
WORLDS = ("as assumed", "twice")
EDGES = (0.2, 0.4, 0.6, 0.8)  # of P(best)


class Simulation:
    """Candidates of random true accuracies."""

    def __init__(self, k: int, world: str, seed: int):
        self.rng = np.random.default_rng([k, WORLDS.index(world), seed])
        spread = np.exp(self.rng.normal(size=2) * (posterior.SEED_LOG_SD, belief.KAPPA_LOG_SD))
        self.seed_sd, kappa = (posterior.SEED_SD, belief.KAPPA) * (spread if world == "as assumed" else np.full(2, 2.0))
        self.truth = ACCURACY + self.rng.normal(0, SPREAD[k], k)
        steps = np.column_stack([np.zeros(k), self.rng.normal(-2, kappa, (k, len(LENGTHS) - 1))])
        self.scores = self.truth[:, None] + steps.cumsum(1)[:, ::-1]
        shared = self.rng.normal(size=(FOLDS, IMAGES)) * 0.5**0.5
        self.images = shared + self.rng.normal(size=(k, FOLDS, IMAGES)) * 0.3**0.5
        self.names = list(map(str, range(k)))
        self.prior = Prior(np.full(k, ACCURACY), PRIOR_SD**2 * np.eye(k), LENGTHS, FOLDS, IMAGES)

    def cost(self, key: Key) -> float:
        return 10 * LENGTHS[key[1]] * (1 + key[0] / 2)

    def train(self, key: Key) -> Run:
        candidate, rung, seed = key
        accuracy = self.scores[candidate, rung] + self.rng.normal(0, self.seed_sd)
        latent = self.images[candidate, seed % FOLDS] + self.rng.normal(size=IMAGES) * 0.2**0.5
        right = latent < ndtri(np.clip(accuracy / 100, 0.01, 0.99))
        return Run(candidate, rung, seed, 100.0 * right, self.cost(key))

    def race(self, seconds: float, done: Sequence[Run]) -> loop.RaceResult:
        made = list(done)

        def train(key: Key) -> Run:
            made.append(self.train(key))
            return made[-1]

        def spent() -> float:
            return sum(run.seconds for run in made)

        setup = loop.Race(self.names, self.prior, [1] * len(self.names), train, self.cost, spent, str, seconds, 0.0)
        return loop.race(setup, done, set(), lambda line: None)

    def in_turn(self, seconds: float) -> int:
        """The candidate with the best mean of equally many full runs."""
        top = len(LENGTHS) - 1
        seeds = range(int(seconds / sum(self.cost((k, top, 0)) for k in range(len(self.truth)))))
        means = [np.mean([self.train((k, top, s)).scores for s in seeds] or 0) for k in range(len(self.truth))]
        return int(np.argmax(means))


def simulate(k: int, world: str, seed: int) -> dict:
    """What a race states after each number of seconds, and what its choice and that of full runs in turn lose."""
    one, runs, answers = Simulation(k, world, seed), [], []
    lost = one.truth.max() - one.truth
    for seconds in SECONDS:
        result = one.race(seconds, runs)
        runs = list(result.runs)
        answers.append(
            {
                "p_best": result.p_best.round(4).tolist(),
                "stated": float(result.regret.min()),
                "lost": float(lost[result.regret.argmin()]),
                "in_turn": float(lost[one.in_turn(seconds)]),
            }
        )
    return {"candidates": k, "world": world, "seed": seed, "best": int(one.truth.argmax()), "answers": answers}


def table(rows: Sequence[dict]) -> str:
    """A line per number of candidates and world: P(best) at all times, losses in points after each."""
    times = " | ".join(f"{seconds} s" for seconds in SECONDS)
    lines = [
        f"| candidates | seeds and lengths | races | P(best) stated -> right (n) | {times} |",
        "|---" * (len(SECONDS) + 4) + "|",
    ]
    for k, world in itertools.product(SPREAD, WORLDS):
        some = [row for row in rows if (row["candidates"], row["world"]) == (k, world)]
        stated = np.array([[answer["p_best"] for answer in row["answers"]] for row in some]).ravel()
        right = np.array([[np.arange(k) == row["best"]] * len(SECONDS) for row in some]).ravel()
        bins = [np.digitize(stated, EDGES) == b for b in range(len(EDGES) + 1)]
        pairs = ", ".join(f"{stated[b].mean():.2f} -> {right[b].mean():.2f} ({b.sum()})" for b in bins if b.any())
        losses = [
            [[row["answers"][i][name] for row in some] for name in ("stated", "lost", "in_turn")]
            for i in range(len(SECONDS))
        ]
        cells = [f"{np.mean(a):.2f} / {np.mean(b):.2f} ± {sem(b):.2f} / {np.mean(c):.2f}" for a, b, c in losses]
        lines.append(f"| {k} | {world} | {len(some)} | {pairs} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=25, help="of each number of candidates and world")
    races = parser.parse_args().races
    rows = [json.loads(line) for line in OUT.read_text("utf-8").splitlines()] if OUT.exists() else []
    done = {(row["candidates"], row["world"], row["seed"]) for row in rows}
    for seed, k, world in itertools.product(range(races), SPREAD, WORLDS):
        if (k, world, seed) not in done:
            rows.append(simulate(k, world, seed))
            with OUT.open("a", encoding="utf-8") as file:
                print(json.dumps(rows[-1]), file=file)
    print(table(rows))


if __name__ == "__main__":
    main()
