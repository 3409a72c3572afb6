"""How far does a short run predict a long one? The change of networks' places when a run has twice the steps.

    python benchmarks/short_runs.py

From the runs of the default recipe in `results/recipes.jsonl`, on the images of validation and test. On a dataset, the score of network k changes by
level + N(0, kappa^2 log2(long / short)) from a short run to a long one, beyond the noise of seeds and images. kappa differs between datasets: log-normal,
its median and log-SD estimated from all. The race starts from those of the two longest runs.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray
from scipy.special import logsumexp

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import default_runs
from benchmarks.default_runs import RESULTS, Dataset
from common.statistics.posterior import SEED_SD

OUT = RESULTS / "short_runs.json"
KAPPAS = np.geomspace(0.05, 20, 200)
MEDIANS = np.geomspace(0.3, 8, 80)
LOG_SDS = np.linspace(0.1, 1.5, 15)


def changes(data: Dataset, short: int, long: int) -> tuple[ndarray, float]:
    """(K,) changes in points less their mean; the mean variance of their noise."""
    rng, found, noise = np.random.default_rng(0), [], []
    for name in data.names:
        seeds = sorted(set(data.seeds(name, short)) & set(data.seeds(name, long)))
        right = [
            np.mean([np.concatenate([data.right((name, n, s), p, rng) for p in ("val", "test")]) for s in seeds], 0)
            for n in (short, long)
        ]
        images = 100 * (right[1] - right[0])
        found.append(images.mean())
        noise.append(images.var() / len(images) + 2 * SEED_SD**2 / len(seeds))
    return np.array(found) - np.mean(found), float(np.mean(noise))


def log_likelihood(centred: ndarray, noise: float, doublings: float) -> ndarray:
    """(G,) for the grid of kappa; the level is integrated out."""
    variance = KAPPAS**2 * doublings + noise
    return -(len(centred) - 1) / 2 * np.log(variance) - np.square(centred).sum() / 2 / variance


def prior(log_likelihoods: Sequence[ndarray]) -> tuple[float, float]:
    """Median and log-SD of kappa on another dataset; the uncertainty of both, under flat priors, widens it."""
    density = -((np.log(KAPPAS / MEDIANS[:, None, None]) / LOG_SDS[:, None]) ** 2) / 2
    density -= logsumexp(density, axis=2, keepdims=True)
    evidence = sum(logsumexp(one + density, axis=2) for one in log_likelihoods)  # (medians, log-SDs)
    weights = np.exp(evidence - evidence.max())
    weights /= weights.sum()
    log_median, log_sd2 = np.log(MEDIANS), np.square(LOG_SDS)
    centre = weights.sum(1) @ log_median
    return float(np.exp(centre)), float((weights.sum(0) @ log_sd2 + weights.sum(1) @ (log_median - centre) ** 2) ** 0.5)


def measure(datasets: Sequence[Dataset]) -> list[dict]:
    """A record per pair of successive lengths."""
    found = []
    for short, long in itertools.pairwise(datasets[0].steps):
        doublings = np.log2(long / short)
        rows, likelihoods = [], []
        for data in datasets:
            centred, noise = changes(data, short, long)
            likelihoods.append(log_likelihood(centred, noise, doublings))
            ends = [[data.score(name, n, "test") for name in data.names] for n in (short, long)]
            rows.append(
                {
                    "data": data.title,
                    "networks": len(centred),
                    "change": float(centred.std(ddof=1)),
                    "noise": noise**0.5,
                    "correlation": float(np.corrcoef(*ends)[0, 1]),
                }
            )
        median, log_sd = prior(likelihoods)
        found.append({"short": short, "long": long, "median": median, "log_sd": log_sd, "datasets": rows})
    return found


def table(result: Sequence[dict]) -> str:
    """A line per dataset, a column per pair of lengths."""
    titles = [f"{one['short']} to {one['long']} steps" for one in result]
    lines = [f"| dataset | {' | '.join(titles)} |", "|---" * (len(result) + 1) + "|"]
    for rows in zip(*(one["datasets"] for one in result), strict=True):
        cells = [f"{row['change']:.1f} ({row['correlation']:.2f})" for row in rows]
        lines.append(f"| {rows[0]['data']} | {' | '.join(cells)} |")
    priors = [f"{one['median']:.1f} ({one['log_sd']:.1f})" for one in result]
    return "\n".join([*lines, f"| kappa on another dataset: median (log-SD) | {' | '.join(priors)} |"])


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    result = measure(default_runs.load())
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
