"""What is a temperature worth that was fitted to few images? On the logits of finished runs, drawn again and again.

    python benchmarks/temperature.py runs/sweep/* --out benchmarks/results/temperature.json

Of a run's test images n fit a temperature, the others judge it. Compared are none, that of maximum likelihood (Guo et al.
2017) and ours, which takes half an image of n + 1 for wrong (`measure/calibration.py`).
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.metrics import calibration, classification  # noqa: E402
from common.report.predictions import read_predictions  # noqa: E402
from common.run.results import read_json, write_json  # noqa: E402

IMAGES, DRAWS, LEAST = (12, 30, 70, 150, 500), 12, 60  # LEAST: images that judge


def likeliest(logits: np.ndarray, labels: np.ndarray) -> float:
    """As `calibration.temperature`, with the labels as they are."""

    def nll(log_t: float) -> float:
        return classification.score(logits / np.exp(log_t), labels)["nll"]

    return float(np.exp(minimize_scalar(nll, bounds=np.log(calibration.RANGE), method="bounded").x))


FITS = {"none": lambda *_: 1.0, "likeliest": likeliest, "ours": calibration.fit_temperature}


def judged(logits: np.ndarray, labels: np.ndarray, n: int, rng: np.random.Generator) -> dict:
    """NLL and ECE by fit, on the images that fitted nothing."""
    order = rng.permutation(len(labels))
    fit, rest = order[:n], order[n:]
    found = {}
    for name, temperature in FITS.items():
        scores = classification.score(logits[rest] / temperature(logits[fit], labels[fit]), labels[rest])
        found[name] = (scores["nll"], scores["ece"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="temperatures fitted to few images, judged on the others")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN_FOLDER")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    args = parser.parse_args()
    rng, draws, runs = np.random.default_rng(0), defaultdict(list), defaultdict(set)
    for folder in sorted(args.runs):
        result = read_json(folder / "result.json")
        predictions = read_predictions(folder)
        labels, logits = predictions.labels, predictions.logits
        for n in (n for n in IMAGES if n + LEAST <= len(labels)):
            key = result["dataset"], n
            draws[key] += [judged(logits, labels, n, rng) for _ in range(DRAWS)]
            runs[key].add(folder.name)
    rows = []
    for (dataset, n), some in sorted(draws.items()):
        row = {"dataset": dataset, "images": n, "runs": len(runs[dataset, n]), "draws": len(some)}
        for name in FITS:
            nll, ece = np.array([one[name] for one in some]).T
            row[name] = {"nll": nll.mean(), "worst_nll": nll.max(), "ece": ece.mean()}
        rows.append(row)
        told = ", ".join(
            f"{name} {row[name]['nll']:.3f} (worst {row[name]['worst_nll']:.2f})" for name in FITS
        )
        print(f"{dataset:12} {n:4} images: NLL {told}")
    write_json(args.out, rows)


if __name__ == "__main__":
    main()
