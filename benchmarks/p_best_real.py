"""Is P(best) right on real networks? It is predicted from some validation images, and checked on the test images, with another seed where there is one.

    python benchmarks/p_best_real.py

From the runs of the default recipe in `results/recipes.jsonl`: the posterior sees some networks with one seed on some validation images. The outcome
is the best of these networks on the test images, trained with another seed, or the same trained networks. It is a noisy truth, so next to P(best) stands
the probability of the outcome: the posterior's draws plus the noise of these test images and of a seed (SD 0.5 points, the prior's median). For the same networks
the posterior is that without seeds.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np
from numpy import ndarray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import default_runs
from benchmarks.default_runs import RESULTS, Dataset
from common.recommend.text import enumerate_names
from common.statistics import posterior
from common.statistics.posterior import SEED_SD, covariance_of_mean, expected_regret, p_best

OUT = RESULTS / "p_best_real.json"
IMAGES = (60, 300, 1000)  # at most, of those of validation
CANDIDATES = (2, 3, 6)
REPEATS = 10  # draws of networks and images
EDGES = (0.2, 0.4, 0.6, 0.8, 0.9)
SAME_NETWORKS = np.array([1e-3])  # points: the SD of seeds


def pairs(data: Dataset) -> Iterator[tuple[int, int, int]]:
    """(steps, seed that the posterior sees, seed of the outcome)."""
    for steps in data.steps:
        seeds = set.intersection(*(set(data.seeds(name, steps)) for name in data.names))
        for seen, other in itertools.product(sorted(seeds), repeat=2):
            if all("val_right" in data.rows[name, steps, seen] for name in data.names):
                yield steps, seen, other


def compare(val: ndarray, test: ndarray, seed: int, same: bool) -> dict:
    """(K, N) and (K, M) right answers -> stated and predicted probabilities, the outcome, losses in points."""
    with patch.object(posterior, "SIGMA_A", SAME_NETWORKS if same else posterior.SIGMA_A):
        draws = posterior.posterior(val[:, None], seed)
    noise = covariance_of_mean(test, np.arange(test.shape[1])) + (not same) * (SEED_SD / 100) ** 2 * np.eye(len(test))
    rng = np.random.default_rng(seed)
    predicted = draws + rng.multivariate_normal(np.zeros(len(test)), noise, len(draws))
    scores, leader = test.mean(1), expected_regret(draws).argmin()
    best = scores == scores.max()
    return {
        "stated": p_best(draws).tolist(),
        "predicted": p_best(predicted).tolist(),
        "best": (best / best.sum()).tolist(),
        "loss": [100 * float(expected_regret(predicted)[leader]), 100 * float(scores.max() - scores[leader])],
    }


def measure(data: Dataset) -> list[dict]:
    rng, found = np.random.default_rng(0), []
    for steps, seen, other in pairs(data):
        val, test = (
            np.array([data.right((name, steps, seed), part, rng) for name in data.names])
            for seed, part in ((seen, "val"), (other, "test"))
        )
        for images, k, repeat in itertools.product(IMAGES, CANDIDATES, range(REPEATS)):
            some = rng.choice(len(val), min(k, len(val)), replace=False)
            drawn = rng.choice(val.shape[1], min(images, val.shape[1]), replace=False)
            one = compare(val[some][:, drawn], test[some], repeat, seen == other)
            found.append({"set": [data.data, data.shots, steps, seen], "same": seen == other, "images": images, **one})
    return found


def summary(rows: Sequence[dict]) -> dict:
    """Bins of the probability of the outcome: n, mean of P(best), mean of it, frequency; losses by images."""
    stated, predicted, best = (np.concatenate([row[name] for row in rows]) for name in ("stated", "predicted", "best"))
    bins = [np.digitize(predicted, EDGES) == b for b in range(len(EDGES) + 1)]
    sets = {tuple(row["set"]) for row in rows}
    return {
        "comparisons": len(rows),
        "sets": len(sets),
        "datasets": len({data for data, *_ in sets}),
        "bins": [[int(b.sum()), *(float(v[b].mean()) for v in (stated, predicted, best))] for b in bins if b.any()],
        "loss": {str(n): np.mean([row["loss"] for row in rows if row["images"] == n], 0).tolist() for n in IMAGES},
    }


def table(result: dict) -> str:
    """A line per outcome: the bins of its probability, the losses by number of validation images."""
    losses = " | ".join(f"loss, {n} images" for n in IMAGES)
    lines = [
        f"| outcome | comparisons | sets | datasets | P(best) / P(first there) -> was first there (n) | {losses} |",
        "|---" * (len(IMAGES) + 5) + "|",
    ]
    for outcome, one in result.items():
        bins = ", ".join(f"{s:.2f} / {p:.2f} -> {f:.2f} ({n})" for n, s, p, f in one["bins"])
        loss = " | ".join(f"{expected:.2f} / {true:.2f}" for expected, true in one["loss"].values())
        lines.append(f"| {outcome} | {one['comparisons']:,} | {one['sets']} | {one['datasets']} | {bins} | {loss} |")
    return "\n".join(lines)


def sentence(result: dict) -> str:
    """The bins of another seed, without the candidates that are unlikely."""
    found = result["another seed"]
    bins = found["bins"][1:]
    stated, first = (enumerate_names([f"{100 * b[i]:.0f}" for b in bins]) for i in (2, 3))
    return (
        f"Trained again with another seed, and allowing for the noise of the test images, networks that should come first with a probability of {stated} % "
        f"did so in {first} % of the comparisons ({found['comparisons']:,}, many of the same runs, on {found['datasets']} datasets)."
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    rows = [row for data in default_runs.load() for row in measure(data)]
    outcomes = {
        "same networks": [row for row in rows if row["same"]],
        "another seed": [row for row in rows if not row["same"]],
    }
    result = {name: summary(some) for name, some in outcomes.items() if some}
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
