"""What does a choice lose? The race at 5, 10 and 30 % of the cost of full training, against probes and ImageNet's top-1.

    python benchmarks/race.py

Races are replayed from finished runs, `results/recipes.jsonl`: a run of the race is the one in the table with its network, number of
steps and seed, at the best of its rates on validation, and costs the seconds of all of them. The table has mean scores, so which
images are right is simulated (a correlation of 0.5 between networks), 20 times. The truth is the test score of the longest
runs, seeds averaged. kNN, LogME and H-score are those of `results/answers.jsonl`, whose networks have no short runs.
"""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.finetuned_order import TOP1
from common.recommend import finetuned_order, race
from common.recommend.value import Field, Key, Run

RESULTS = ROOT / "benchmarks" / "results"
OUT = RESULTS / "race.json"
FRACTIONS = (0.05, 0.10, 0.30)
IMAGES = 1000  # on validation in recipes.jsonl, about
REPEATS = 20
MIN_NETWORKS = 3
RECIPE = {"head": "probe", "bn": "pretrained"}
TITLES = {
    "random": "random choice",
    "top1": "ImageNet top-1",
    "probe": "probe",
    "knn": "kNN",
    "logme": "LogME",
    "h_score": "H-score",
    "predicted": "probe and top-1 (no race)",
} | {f"race {f:g}": f"race, {100 * f:g} % of the cost of full training" for f in FRACTIONS}


class Table:
    """The runs of the default recipe on a dataset, of the networks that have a probe and runs of the full length."""

    def __init__(self, rows: list[dict]):
        self.probe = {r["network"]: r["val_top1"] for r in rows if not r["config"]["steps"]}
        self.cells: dict[tuple[str, int, int], list[dict]] = defaultdict(list)
        for row in rows:
            config = row["config"]
            if config["steps"] and set(config) == {*RECIPE, "lr", "steps"} and RECIPE.items() <= config.items():
                self.cells[row["network"], config["steps"], row["seed"]].append(row)
        self.full = max((steps for _, steps, _ in self.cells), default=0)
        has = {name: {s for n, s, seed in self.cells if n == name and seed == 0} for name in self.probe}
        self.names = [name for name in self.probe if self.full in has[name]]
        self.steps = sorted(set.intersection(*(has[name] for name in self.names))) if self.names else []

    def best(self, name: str, steps: int, seed: int) -> dict | None:
        return max(self.cells.get((name, steps, seed), ()), key=lambda row: row["val_top1"], default=None)

    def truth(self) -> np.ndarray:
        """(K,) in points."""
        seeds = {seed for _, _, seed in self.cells}
        runs = [[self.best(name, self.full, seed) for seed in seeds] for name in self.names]
        return np.array([100 * np.mean([run["test_top1"] for run in found if run]) for found in runs])

    def seconds(self, name: str, steps: int, seed: int) -> float:
        return sum(row["seconds"] for row in self.cells.get((name, steps, seed), ())) or np.inf

    def answer_rows(self) -> list[dict]:
        """As those of a recommendation."""
        half = {name: 1.96 * (p * (1 - p) / IMAGES) ** 0.5 for name, p in self.probe.items()}
        return [
            {
                "score": self.probe[name],
                "interval": (self.probe[name] - half[name], self.probe[name] + half[name]),
                "imagenet_top1": TOP1[name],
                "weights": "imagenet",
            }
            for name in self.names
        ]

    def between(self) -> dict[str, float]:
        """SD over networks, in points, of what they gain from a number of steps to the full one."""
        full = np.array([self.best(name, self.full, 0)["val_top1"] for name in self.names])
        return {
            str(steps): float(
                100 * np.std(full - [self.best(name, steps, 0)["val_top1"] for name in self.names], ddof=1)
            )
            for steps in self.steps[:-1]
        }


def replay(table: Table, seconds: float, seed: int) -> race.RaceResult:
    """A race with that many seconds."""
    k, rng = len(table.names), np.random.default_rng(seed)
    images = rng.normal(size=IMAGES) + rng.normal(size=(k, IMAGES)) * 0.7  # higher is easier
    scores = 100 * finetuned_order.draw(table.answer_rows(), seed)

    def cost(key: Key) -> float:
        return table.seconds(table.names[key[0]], table.steps[key[1]], key[2])

    def train(key: Key) -> Run:
        row = table.best(table.names[key[0]], table.steps[key[1]], key[2])
        easiest = np.argsort(-images[key[0]] - rng.normal(size=IMAGES) * 0.7)
        right = np.zeros(IMAGES)
        right[easiest[: round(row["val_top1"] * IMAGES)]] = 100
        return Run(*key, right, cost(key))

    setup = race.Race(
        names=table.names,
        field=Field(scores.mean(0), np.cov(scores.T), len(table.steps), 1, IMAGES),
        train=train,
        cost=cost,
        describe=str,
        seconds=seconds,
    )
    return race.race(setup, [], set(), lambda line: None)


def replayed(rows: list[dict]) -> list[dict]:
    """The regret of every choice on every dataset of recipes.jsonl."""
    found = []
    for data in dict.fromkeys(row["data"] for row in rows):
        table = Table([row for row in rows if row["data"] == data])
        if len(table.names) < MIN_NETWORKS:
            continue
        truth, probes = table.truth(), [table.probe[name] for name in table.names]
        lost = truth.max() - truth
        total = sum(table.seconds(name, table.full, 0) for name in table.names)
        prior = finetuned_order.draw(table.answer_rows(), 0)
        regret = {
            "random": lost.mean(),
            "top1": lost[np.argmax([TOP1[name] for name in table.names])],
            "probe": lost[np.argmax(probes)],
            "predicted": lost[(prior.max(1, keepdims=True) - prior).mean(0).argmin()],
        }
        stated = {}
        for fraction in FRACTIONS:
            races = [replay(table, fraction * total, seed) for seed in range(REPEATS)]
            regret[f"race {fraction:g}"] = np.mean([lost[result.regret.argmin()] for result in races])
            stated[f"race {fraction:g}"] = np.mean([result.regret.min() for result in races])
        found.append(
            {
                "data": data,
                "networks": len(table.names),
                "steps": table.steps,
                "regret": {name: float(value) for name, value in regret.items()},
                "stated": {name: float(value) for name, value in stated.items()},
                "between": table.between(),
            }
        )
    return found


def answered(answers: list[dict], runs: list[dict]) -> list[dict]:
    """The regret of the scores of `recommend`, where its networks were fine-tuned."""
    from common.recommend.validate import _finetuned_scores

    found = []
    for answer in answers:
        finetuned = _finetuned_scores(answer, runs)
        rows = [row for row in answer["backbones"] if row["backbone"] in finetuned]
        if len(rows) < MIN_NETWORKS:
            continue
        truth = np.array([100 * finetuned[row["backbone"]] for row in rows])
        lost, scores = truth.max() - truth, {"top1": "imagenet_top1", "probe": "score"}
        regret = {"random": float(lost.mean())}
        for name in ("top1", "probe", "knn", "logme", "h_score"):
            regret[name] = float(lost[np.argmax([row[scores.get(name, name)] for row in rows])])
        found.append({"data": answer["dataset"], "networks": len(rows), "regret": regret})
    return found


def table(result: dict) -> str:
    """A line per choice: regret on each dataset, and its mean."""
    groups = [(result["replayed"], "replayed"), (result["answered"], "answers")]
    titles = [f"{one['data']}, {one['networks']} networks" for rows, _ in groups for one in rows]
    titles = [*titles[: len(groups[0][0])], "mean", *titles[len(groups[0][0]) :], "mean"]
    lines = [f"| choice by | {' | '.join(titles)} |", "|---" * (len(titles) + 1) + "|"]
    for name, title in TITLES.items():
        cells = []
        for rows, _ in groups:
            values = [one["regret"].get(name) for one in rows]
            cells += ["" if v is None else f"{v:.2f}" for v in values]
            cells.append("" if None in values or not values else f"{np.mean(values):.2f}")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def load(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    result = {
        "replayed": replayed(load(RESULTS / "recipes.jsonl")),
        "answered": answered(load(RESULTS / "answers.jsonl"), load(ROOT / "results" / "runs.jsonl")),
    }
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
