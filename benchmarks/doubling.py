"""Do fine-tuning runs on an eighth, a quarter and half of the images predict the gain of all of them?

    python benchmarks/doubling.py

From the runs of `results/recipes.jsonl` (stage `halves`), seed 1: the learning curve of the three smaller training sets, extrapolated as a report
does it, and what the fourth gains on the same test images.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.default_runs import RECIPE, RECIPES, RESULTS, bits
from benchmarks.recipes import BENCHMARKS
from common.report.more_images import MISFIT, NOISE
from common.statistics.learning_curve import gain_of_doubling

OUT = RESULTS / "doubling.json"
PARTS = (0.125, 0.25, 0.5, 1.0)


def measure(runs: dict[float, dict], train: int) -> dict:
    """`runs` by part of the `train` images per class -> scores, the predicted gain and the true one, as fractions."""
    right = np.array([bits(runs[part], "test") for part in PARTS])
    sizes = [round(part * train) for part in PARTS[:3]]
    predicted, difference = gain_of_doubling(right[:3], noise=NOISE, misfit=MISFIT, sizes=sizes), right[3] - right[2]
    return {
        "images": right.shape[1],
        "scores": right.mean(1).tolist(),
        "predicted": predicted.mean,
        "interval": predicted.interval,
        "gain": float(difference.mean()),
        "error": float(np.hypot(difference.std() / len(difference) ** 0.5, NOISE)),
    }


def table(result: Sequence[dict]) -> str:
    lines = [
        "| dataset, network | accuracy with 1/8, 1/4, 1/2, all | gain of all over half | predicted from the other three | 95 % interval |",
        "|---" * 5 + "|",
    ]
    for one in result:
        scores = ", ".join(f"{100 * score:.1f}" for score in one["scores"])
        low, high = one["interval"]
        lines.append(
            f"| {one['data']}, {one['network']} | {scores} % | {100 * one['gain']:+.1f} ± {100 * one['error']:.1f} | "
            f"{100 * one['predicted']:+.1f} | [{100 * low:.1f}, {100 * high:.1f}] |"
        )
    inside, allowing = (sum(is_inside(one, factor) for one in result) for factor in (0, 1.96))
    error = np.mean([abs(one["predicted"] - one["gain"]) for one in result])
    last = np.mean([abs(one["scores"][2] - one["scores"][1] - one["gain"]) for one in result])
    return "\n".join(
        [
            *lines,
            "",
            f"The gain, whose error counts images and seeds, lies within {inside} of {len(result)} intervals, and within {allowing} if its error is allowed for. The mean error of the prediction is {100 * error:.1f} points; assuming that the next "
            f"doubling gains as much as the last one, {100 * last:.1f}; assuming no gain, {100 * np.mean([abs(one['gain']) for one in result]):.1f}.",
        ]
    )


def is_inside(one: dict, factor: float) -> bool:
    """Whether the gain is in the interval, widened by that many of the gain's errors."""
    low, high = (np.hypot(end - one["predicted"], factor * one["error"]) for end in one["interval"])
    return one["predicted"] - low <= one["gain"] <= one["predicted"] + high


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    runs: dict[tuple[str, str], dict[float, dict]] = {}
    for row in map(json.loads, RECIPES.read_text("utf-8").splitlines()):
        part = row["config"].get("part", 1.0)
        config = {name: value for name, value in row["config"].items() if name != "part"}
        if config == {**RECIPE, "steps": 300} and row["seed"] == 1 and "test_right" in row:
            runs.setdefault((row["data"], row["network"]), {})[part] = row
    result = [
        {"data": data, "network": network, **measure(by_part, BENCHMARKS[data].train)}
        for (data, network), by_part in runs.items()
        if by_part.keys() == set(PARTS)
    ]
    OUT.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


if __name__ == "__main__":
    main()
