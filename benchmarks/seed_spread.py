"""How much does the seed matter? The SD of test scores over seeds, and the part of it that the test images do not explain.

    python benchmarks/seed_spread.py

From the full runs of the default recipe in `results/recipes.jsonl`. Two seeds have different images wrong, so their scores would differ on
a test set of this size even if both were equally good on all images: the variance of a difference d is 2 sigma_a^2 + var(d per image) / N.
sigma_a is what the prior of `posterior.py` is about; a negative estimate of its square counts as zero.
"""

import argparse
import itertools
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import default_runs
from benchmarks.default_runs import RESULTS, Dataset

OUT = RESULTS / "seed_spread.json"


def measure(data: Dataset) -> dict | None:
    """In points; None: no network has two seeds."""
    spread, squares, n = [], [], 0
    for name in data.names:
        runs = [data.rows[name, data.full, seed] for seed in data.seeds(name, data.full)]
        right = [100 * default_runs.bits(run, "test") for run in runs if "test_right" in run]
        if len(right) < 2:
            continue
        spread.append(100 * np.std([run["test_top1"] for run in runs], ddof=1))
        differences = [a - b for a, b in itertools.combinations(right, 2)]
        squares += [(d.mean() ** 2 - d.var() / len(d)) / 2 for d in differences]
        n = len(right[0])
    if not spread:
        return None
    return {
        "data": data.title,
        "test_images": n,
        "networks": len(spread),
        "spread": [float(x) for x in np.quantile(spread, (0, 0.5, 1))],
        "sigma_a": float(max(np.mean(squares), 0) ** 0.5),
    }


def table(result: Sequence[dict]) -> str:
    """A line per dataset."""
    lines = [
        "| dataset | test images | networks | SD over seeds, median (range), in points | beyond the noise of the images: sigma_a |",
        "|---|---|---|---|---|",
    ]
    for one in result:
        low, median, high = one["spread"]
        cells = [one["data"], f"{one['test_images']:,}", one["networks"], f"{median:.1f} ({low:.1f} to {high:.1f})"]
        lines.append(f"| {' | '.join(map(str, cells))} | {one['sigma_a']:.1f} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    result = [one for data in default_runs.load() if (one := measure(data))]
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
