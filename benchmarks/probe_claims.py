"""Are the claims true that rest on a linear probe: labels that look wrong, the gain of twice the images?

    python benchmarks/probe_claims.py labels eurosat=../shared/data/eurosat@64 folder=my_images@128

Every argument is SHEET=FOLDER@PIXELS, with EfficientNet-Lite0's ImageNet weights, up to 2,000 images. `labels` changes 5 and 10 %
of the labels at random, three times, and searches for them; published labels count as right. `images` hides a random half of the images, four times, and compares the predicted gain with that
of the whole, measured for all images.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch

from common.cli import catalog
from common.models import build, weights
from common.run import provenance
from common.statistics import learning_curve
from common.transfer import data_curve, label_errors
from common.transfer.features import Extractor, cached_features
from common.transfer.folds import assign_folds

RESULTS = ROOT / "benchmarks" / "results"
MODEL, LIMIT, SEEDS = "efficientnet_lite0", 2000, 3
FLIPPED = (0.0, 0.05, 0.1)
HALVES, MIN_PER_CLASS = 4, 10
Record = dict[str, object]


def features(name: str, folder: Path | None, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) float32 features and (N,) int labels of a random sample."""
    sheet, row = catalog.find(name), build.get_backbone(MODEL)
    samples = sheet.load(folder, sheet.classes)
    indices = np.sort(np.random.default_rng(0).permutation(len(samples))[:LIMIT])
    path, sha256 = weights.fetch(row, "imagenet", offline=True)
    extractor = Extractor(
        backbone=row,
        weights=path,
        sha256=sha256,
        preprocess=row.preprocess((pixels, pixels)),
        device=torch.device("cpu"),
        machine=provenance.device_name(torch.device("cpu")),
        precision="fp32",
        seed=0,
    )
    images = samples.images
    chosen = images[indices] if isinstance(images, np.ndarray) else [images[i] for i in indices]
    values = cached_features(extractor, chosen, range(len(indices)), sheet.native).values
    return values, np.unique(np.asarray(samples.labels)[indices], return_inverse=True)[1]


def labels(title: str, x: np.ndarray, y: np.ndarray) -> Record:
    """Precision and recall of changed labels, and the fraction found without any change, means over seeds."""
    classes, found = int(y.max()) + 1, {}
    for fraction in FLIPPED:
        runs = []
        for seed in range(SEEDS if fraction else 1):
            noisy, changed = label_errors.change(y, fraction, seed)
            p = label_errors.probabilities(x, noisy, None, seed)
            hits = np.isin(label_errors.find(p, noisy)[0], changed)
            runs.append(
                {
                    "found": len(hits) / len(y),
                    "precision": float(hits.mean()) if len(hits) else 0.0,
                    "precision_first_half": float(hits[: max(1, len(changed) // 2)].mean()) if len(hits) else 0.0,
                    "recall": float(hits.sum() / max(1, len(changed))),
                    "accuracy": float((p.argmax(1) == y).mean()),
                }
            )
        found[str(fraction)] = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
    return {"dataset": title, "images": len(y), "classes": classes, "flipped": found}


def labels_table(records: Sequence[Record]) -> str:
    lines = [
        "| images | probe's accuracy | found with published labels | 5 % changed: recall | precision | of the first half | 10 %: recall | precision | of the first half |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        at = [record["flipped"][str(fraction)] for fraction in FLIPPED]
        scores = [f"{run[key]:.2f}" for run in at[1:] for key in ("recall", "precision", "precision_first_half")]
        lines.append(
            f"| {record['dataset']}, {record['images']:,} of {record['classes']} classes | {100 * at[0]['accuracy']:.0f} % "
            f"| {100 * at[0]['found']:.1f} % | {' | '.join(scores)} |"
        )
    return "\n".join(lines)


def images(title: str, x: np.ndarray, y: np.ndarray) -> Record:
    """The gain that random halves predict for the whole, and the gain of the whole."""
    known = np.flatnonzero(np.bincount(y)[y] >= MIN_PER_CLASS)
    x, y = x[known], np.unique(y[known], return_inverse=True)[1]
    curve = data_curve.correctness(x, y, assign_folds(y, None, 0), None, balanced=False)
    halves = []
    for seed in range(HALVES):
        order = np.random.default_rng(seed).permutation(len(y))
        parts = [order[y[order] == c] for c in range(int(y.max()) + 1)]
        half = np.concatenate([part[: len(part) // 2] for part in parts])
        folds = assign_folds(y[half], None, seed)
        scores = data_curve.correctness(x[half], y[half], folds, None, balanced=False)
        gain = learning_curve.gain_of_doubling(scores)
        halves.append({"curve": scores.mean(1).tolist(), "gain": gain.mean, "interval": gain.interval})
    return {
        "dataset": title,
        "images": len(y),
        "classes": int(y.max()) + 1,
        "curve": curve.mean(1).tolist(),
        "gain": float((curve[-1] - curve[-2]).mean()),
        "standard_error": float((curve[-1] - curve[-2]).std() / len(y) ** 0.5),
        "halves": halves,
    }


def images_table(records: Sequence[Record]) -> str:
    lines = [
        "| images | accuracy of half -> all | gain of all over half | predicted from half (four halves) | 95 % interval (mean) | gain within it |",
        "|---|---|---|---|---|---|",
    ]
    inside, errors, last = [], [], []
    for record in records:
        halves, gain = record["halves"], record["gain"]
        hits = [half["interval"][0] <= gain <= half["interval"][1] for half in halves]
        low, high = np.mean([half["interval"] for half in halves], 0)
        predicted = [half["gain"] for half in halves]
        inside += hits
        errors += [abs(value - gain) for value in predicted]
        last += [abs(half["curve"][-1] - half["curve"][-2] - gain) for half in halves]
        start, end = 100 * record["curve"][-2], 100 * record["curve"][-1]
        lines.append(
            f"| {record['dataset']}, {record['images']:,} of {record['classes']} classes | {start:.1f} -> {end:.1f} % "
            f"| {100 * gain:+.1f} +- {100 * record['standard_error']:.1f} | {', '.join(f'{100 * p:+.1f}' for p in predicted)} "
            f"| [{100 * low:.1f}, {100 * high:.1f}] | {sum(hits)} of {len(hits)} |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"The gain lies within {sum(inside)} of {len(inside)} intervals. The mean error of the prediction is {100 * np.mean(errors):.2f} points; "
            f"assuming that the next doubling gains as much as the last one, {100 * np.mean(last):.2f}; assuming no gain, "
            f"{100 * np.mean([record['gain'] for record in records]):.2f}.",
        ]
    )


CLAIMS: dict[str, Callable[[str, np.ndarray, np.ndarray], Record]] = {"labels": labels, "images": images}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("claim", choices=CLAIMS)
    parser.add_argument("data", nargs="+", metavar="SHEET=FOLDER@PIXELS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    out = RESULTS / f"{options.claim}_claim.jsonl"
    for argument in options.data:
        sheet, _, rest = argument.partition("=")
        folder, _, pixels = rest.rpartition("@")
        title = f"{sheet if sheet != 'folder' else Path(folder).name}, {pixels} px"
        record = CLAIMS[options.claim](title, *features(sheet, Path(folder) if folder else None, int(pixels)))
        with open(out, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
        print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
