"""Is a P(best) of .8 right in 80 of 100 cases? Simulated comparisons, answered by the posterior and by the plain bootstrap.

    python benchmarks/p_best_calibration.py [--repetitions 40] [--out benchmarks/results/p_best_calibration.jsonl]

One line per setting is appended to --out; another start continues there. `--table` prints the tables of docs/statistics.md from it.
"""

import argparse
import itertools
import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import norm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.statistics import paired
from common.statistics.posterior import expected_regret, p_best, posterior

GRID = {
    "candidates": (2, 3, 6, 12),
    "images": (60, 400, 2_000, 8_000),
    "seeds": (1, 2, 3),
    "seed_sd": (0.2, 0.5, 1.0),  # points
    "spread": (0.3, 1.0, 3.0),  # SD of the true accuracies, points
    "tails": ("normal", "t(3)"),
}
ACCURACY = 0.85
# Of an image's latent variance: common to all, common to a network's seeds; the rest is a run's
DIFFICULTY, NETWORK = 0.6, 0.2
EDGES = np.linspace(0, 1, 11)


def simulate(setting: dict, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(K,) true accuracies and (K, S, N) right answers, correlated over images as those of real networks are."""
    k, s, n = setting["candidates"], setting["seeds"], setting["images"]
    deviation = rng.standard_t(3, k) / 3**0.5 if setting["tails"] == "t(3)" else rng.normal(size=k)
    truth = (ACCURACY + 0.01 * setting["spread"] * deviation).clip(0.05, 0.995)
    runs = (truth[:, None] + 0.01 * setting["seed_sd"] * rng.normal(size=(k, s))).clip(0.01, 0.999)
    latent = DIFFICULTY**0.5 * rng.normal(size=n) + NETWORK**0.5 * rng.normal(size=(k, 1, n))
    latent = latent + (1 - DIFFICULTY - NETWORK) ** 0.5 * rng.normal(size=(k, s, n))
    return truth, (latent < norm.ppf(runs)[:, :, None]).astype(float)


def measure(setting: dict, repetitions: int) -> dict:
    """Counts per decile of P(best), regrets in points and coverage of one setting."""
    rng = np.random.default_rng(list(json.dumps(setting).encode()))
    answers: dict[str, list] = {"posterior": [], "bootstrap": []}
    right, regrets, covered = [], [], []
    for repetition in range(repetitions):
        truth, scores = simulate(setting, rng)
        draws = posterior(scores, seed=repetition)
        answers["posterior"] += p_best(draws).tolist()
        answers["bootstrap"] += p_best(paired.resample_means(scores.mean(1), repetition, 2_000)).tolist()
        right += (truth == truth.max()).tolist()
        regret = expected_regret(draws)
        regrets.append((regret.min(), truth.max() - truth[regret.argmin()]))
        low, high = np.quantile(draws[:, 0] - draws[:, 1], (0.025, 0.975))
        covered.append(low <= truth[0] - truth[1] <= high)
    bins = {name: np.digitize(values, EDGES[1:-1]) for name, values in answers.items()}
    return {
        **setting,
        "repetitions": repetitions,
        "deciles": {
            name: [
                [int(mask.sum()), float(np.sum(answers[name], where=mask)), float(np.sum(right, where=mask))]
                for mask in (bins[name] == decile for decile in range(10))
            ]
            for name in answers
        },
        "regret": (100 * np.mean(regrets, axis=0)).tolist(),  # expected, true
        "covered": int(np.sum(covered)),
    }


def table(rows: list[dict]) -> str:
    """Markdown: P(best) as stated and how often it is right, by how well the prior of the seeds fits, and by spread."""
    groups = {
        "seed SD .5, the prior's median": [row for row in rows if row["seed_sd"] == 0.5],
        "seed SD .2 or 1, two or three seeds": [row for row in rows if row["seed_sd"] != 0.5 and row["seeds"] > 1],
        "seed SD .2, one seed": [row for row in rows if (row["seed_sd"], row["seeds"]) == (0.2, 1)],
        "seed SD 1, one seed": [row for row in rows if (row["seed_sd"], row["seeds"]) == (1.0, 1)],
    }
    spreads = {f"candidates' SD {x:g}": [row for row in rows if row["spread"] == x] for x in GRID["spread"]}
    lines = [
        "| simulations | of | n | P(best) stated -> right, by decile | regret stated / true (points) | 95 % interval of a difference covers |",
        "|---|---|---|---|---|---|",
    ]
    lines += [line(title, name, some) for title, some in groups.items() for name in ("posterior", "bootstrap")]
    lines += [line(title, "posterior", some) for title, some in spreads.items()]
    return "\n".join(lines)


def line(title: str, name: str, rows: list[dict]) -> str:
    counts, stated, right = np.sum([row["deciles"][name] for row in rows], axis=0).T
    pairs = ", ".join(f"{s / n:.2f} -> {r / n:.2f}" for n, s, r in zip(counts, stated, right, strict=True) if n >= 50)
    regret = " / ".join(f"{value:.2f}" for value in np.mean([row["regret"] for row in rows], axis=0))
    runs = sum(row["repetitions"] for row in rows)
    covered = f"{100 * sum(row['covered'] for row in rows) / runs:.1f} %"
    cells = (regret, covered) if name == "posterior" else ("", "")
    return f"| {title} | {name} | {runs:,} | {pairs} | {cells[0]} | {cells[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/p_best_calibration.jsonl")
    parser.add_argument("--table", action="store_true", help="print the table of what is there")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.out.read_text().splitlines()] if options.out.exists() else []
    if options.table:
        print(table(rows))
        return
    done = [{name: row[name] for name in GRID} for row in rows]
    for values in itertools.product(*GRID.values()):
        setting = dict(zip(GRID, values, strict=True))
        if setting not in done:
            with open(options.out, "a", encoding="utf-8") as file:
                print(json.dumps(measure(setting, options.repetitions)), file=file)


if __name__ == "__main__":
    main()
