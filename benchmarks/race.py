"""What does a choice lose? The race at 5, 10 and 30 % of the cost of full training, against probes and ImageNet's top-1.

    python benchmarks/race.py

Races are replayed from finished runs, `results/recipes.jsonl`: a run of the race is the one there with its network, number of steps
and seed, is scored on its validation images and costs its CPU seconds. The truth is the test score of the longest runs, seeds averaged. The
prediction that a race starts from is fitted to the other datasets. kNN, LogME and H-score: `frozen_scores.py`.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import sem, weightedtau

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import default_runs
from benchmarks.default_runs import RESULTS, Dataset
from benchmarks.finetuned_order import TOP1, fit, own
from common.recommend import finetuned_order
from common.recommend.finetuned_order import Fit
from common.recommend.race import loop
from common.recommend.race.belief import Key, Prior, Run
from common.statistics.posterior import expected_regret, posterior

OUT, FROZEN = RESULTS / "race.json", RESULTS / "frozen_scores.jsonl"
FRACTIONS = (0.05, 0.10, 0.30)
REPEATS = 10  # races of a dataset, which differ in the order of the seeds and in images without bits
FROZEN_SCORES = ("knn", "logme", "h_score")
TITLES = {
    "random": "random choice",
    "top1": "ImageNet top-1",
    "probe": "probe",
    "knn": "kNN",
    "logme": "LogME",
    "h_score": "H-score",
    "predicted": "probe and top-1",
    **{f"race {f:g}": f"race, {100 * f:g} % of the cost" for f in FRACTIONS},
    "full": "full training of all, best on validation",
}


def top1(name: str) -> float | None:
    """None: from random weights."""
    return None if name.endswith(default_runs.RANDOM) else TOP1[default_runs.network(name)]


def predicted(data: Dataset, seed: int, prior: Fit) -> np.ndarray:
    """(R, K) draws of the fine-tuned scores, as those of a recommendation."""
    rows = [{"imagenet_top1": top1(name), "weights": "imagenet" if top1(name) else "none"} for name in data.names]
    rng = np.random.default_rng(seed)
    right = np.array([data.right((name, 0, 0), "val", rng) for name in data.names])
    return finetuned_order.draw(rows, posterior(right[:, None], seed), right.shape[1], seed, prior)


def replay(data: Dataset, prior: Fit, seconds: float, repeat: int) -> loop.RaceResult:
    """A race with that many seconds."""
    rng = np.random.default_rng(repeat)
    scores = 100 * predicted(data, repeat, prior)
    orders = {(name, steps): np.roll(data.seeds(name, steps), repeat) for name in data.names for steps in data.steps}

    def row(key: Key) -> default_runs.Key | None:
        """The run with this key; None: there is none."""
        at = data.names[key[0]], data.steps[key[1]]
        return (*at, int(orders[at][key[2]])) if key[2] < len(orders[at]) else None

    def cost(key: Key) -> float:
        return data.rows[row(key)]["seconds"] if row(key) else np.inf

    made: list[Run] = []

    def train(key: Key) -> Run:
        made.append(Run(*key, 100 * data.right(row(key), "val", rng), cost(key)))
        return made[-1]

    setup = loop.Race(
        names=data.names,
        prior=Prior(scores.mean(0), np.cov(scores.T), data.steps, 1, len(data.easiness["val"])),
        rates=[1] * len(data.names),
        train=train,
        cost=cost,
        spent=lambda: sum(run.seconds for run in made),
        describe=str,
        seconds=seconds,
    )
    return loop.race(setup, [], set(), lambda line: None)


def choices(data: Dataset, frozen: Sequence[dict], prior: Fit) -> dict:
    """Of every way to choose on a dataset: its regret, its weighted tau with the truth, its seconds; what the races state. In points."""
    truth = data.truth
    lost = truth.max() - truth
    full = [data.rows[name, data.full, 0] for name in data.names]
    scores = {
        "top1": [top1(name) or 0 for name in data.names],
        "probe": data.probe,
        "predicted": -expected_regret(predicted(data, 0, prior)),
        "full": [run["val_top1"] for run in full],
    }
    of = {row["network"]: row for row in frozen if (row["data"], row["shots"]) == (data.data, data.shots)}
    if of.keys() >= set(data.names):
        scores |= {score: [of[name][score] for name in data.names] for score in FROZEN_SCORES}
    regret = {"random": lost.mean()} | {name: lost[np.argmax(values)] for name, values in scores.items()}
    tau = {name: weightedtau(truth, values).statistic for name, values in scores.items()}
    total = sum(run["seconds"] for run in full)
    probes = sum(data.rows[name, 0, 0]["seconds"] for name in data.names)
    seconds, stated, runs = {"probe": probes, "predicted": probes, "full": total}, {}, {}
    for fraction in FRACTIONS:
        name, races = f"race {fraction:g}", [replay(data, prior, fraction * total, repeat) for repeat in range(REPEATS)]
        regret[name] = np.mean([lost[result.regret.argmin()] for result in races])
        tau[name] = np.mean([weightedtau(truth, -result.regret).statistic for result in races])
        stated[name] = float(np.mean([result.regret.min() for result in races]))
        runs[name] = float(np.mean([len(result.runs) for result in races]))
        seconds[name] = float(np.mean([result.spent for result in races])) + probes
    return {
        "data": data.data,
        "shots": data.shots,
        "candidates": list(data.names),
        "seeds": min(len(data.seeds(name, data.full)) for name in data.names),
        "steps": data.steps,
        "regret": {name: float(value) for name, value in regret.items()},
        "tau": {name: float(value) for name, value in tau.items()},
        "seconds": seconds,
        "stated": stated,
        "runs": runs,
    }


def table(result: Sequence[dict]) -> str:
    """A line per choice: regret on each dataset, means with standard errors over datasets, the means that races state."""
    parts = groups(result)
    titles = [one["data"] for one in parts["all images"]]
    head = [cell for title in parts for cell in (title, "stated")]
    lines = [f"| choice by | {' | '.join([*titles, *head])} |", "|---" * (1 + len(titles) + len(head)) + "|"]
    for name, title in TITLES.items():
        cells = [f"{one['regret'][name]:.2f}" if name in one["regret"] else "" for one in parts["all images"]]
        for some in parts.values():
            stated = [one["stated"][name] for one in some if name in one["stated"]]
            cells += [mean_regret(some, name), f"{np.mean(stated):.2f}" if stated else ""]
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", paired(parts)])


def short_table(result: Sequence[dict]) -> str:
    """The means alone."""
    parts = groups(result)
    lines = [f"| choice by | points lost: {' | '.join(parts)} |", "|---" * (1 + len(parts)) + "|"]
    for name, title in TITLES.items():
        lines.append(f"| {title} | {' | '.join(mean_regret(some, name) for some in parts.values())} |")
    return "\n".join([*lines, "", paired(parts)])


def tau_table(result: Sequence[dict]) -> str:
    """Weighted tau with the fine-tuned order, and the cost in percent of full training of all, means over datasets."""
    parts = groups(result)
    lines = [f"| choice by | tau: {' | '.join(parts)} | cost, all images |", "|---" * (2 + len(parts)) + "|"]
    for name, title in TITLES.items():
        if name == "random":
            continue
        taus = [[one["tau"].get(name) for one in some] for some in parts.values()]
        cells = ["" if None in values else f"{np.mean(values):.2f}" for values in taus]
        costs = [100 * one["seconds"].get(name, np.nan) / one["seconds"]["full"] for one in parts["all images"]]
        cost = "" if np.isnan(costs).any() else f"{np.mean(costs):.1f} %"
        lines.append(f"| {title} | {' | '.join(cells)} | {cost} |")
    return "\n".join(lines)


def groups(result: Sequence[dict]) -> dict[str, list[dict]]:
    """By training images; those with variants of the networks last."""
    found: dict[str, list[dict]] = defaultdict(list)
    for one in sorted(result, key=has_variants):
        title = f"{one['shots']} per class" if one["shots"] else "all images"
        found[title + (", with variants" if has_variants(one) else "")].append(one)
    return found


def paired(parts: dict[str, list[dict]]) -> str:
    """How much more full training loses than a race at a tenth of its cost."""
    cells = []
    for title, some in parts.items():
        more = [one["regret"]["full"] - one["regret"]["race 0.1"] for one in some]
        cells.append(f"{np.mean(more):+.2f} ± {sem(more):.2f} ({title}, {len(more)} datasets)")
    return f"How many points more full training of all loses than a race at a tenth of its cost, paired over datasets: {', '.join(cells)}."


def has_variants(one: dict) -> bool:
    return any(name not in TOP1 for name in one["candidates"])


def mean_regret(some: Sequence[dict], name: str) -> str:
    """With its standard error over datasets; empty if one has no such choice."""
    values = [one["regret"].get(name) for one in some]
    return "" if None in values else f"{np.mean(values):.2f} ± {sem(values):.2f}"


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    datasets = default_runs.load()
    variants = [data for data in default_runs.load(variants=True) if set(data.names) - TOP1.keys()]
    frozen = [json.loads(line) for line in FROZEN.read_text("utf-8").splitlines()]
    result = [
        choices(data, frozen, fit(own([other for other in datasets if other.data != data.data])))
        for data in [*datasets, *variants]
    ]
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
