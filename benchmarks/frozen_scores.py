"""kNN, LogME and H-score of the networks of recipes.py, on the images of train and validation.

    python benchmarks/frozen_scores.py --data FOLDER

A line of `results/frozen_scores.jsonl` per network, dataset and number of training images per class (null: all); those already there are
skipped. `--data` as for recipes.py.
"""

import argparse
import itertools
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch

from benchmarks import recipes
from common.models import build, weights
from common.transfer import linear_probe, transferability
from common.transfer.features import MAX_BATCH, forward_features

OUT = ROOT / "benchmarks" / "results" / "frozen_scores.jsonl"
SHOTS = (None, 5)


def features(network: str, bench: str, shots: int | None, data: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(N, D) features and (N,) labels of train and validation; the number of classes."""
    row, source = build.get_backbone(network), recipes.NETWORKS[network]
    source = source if source == "imagenet" else str(recipes.SHARED / source)
    form = recipes.Form(shots=shots)
    parts, classes, _ = recipes.load(bench, data, row.mean, row.std, row.interpolation, form)
    state = weights.load_weights(row, source, offline=True)[0]
    values = []
    for part in (parts["train"], parts["val"]):
        net = build.create_model(row, classes, state, size=part.pixels.shape[1:3])
        values.append(forward_features(net, row, replace(part, batch_size=MAX_BATCH["cpu"]), "fp32").values)
    return np.concatenate(values), np.concatenate([parts[part].labels for part in ("train", "val")]), classes


def scores(x: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    with linear_probe.single_threaded_blas():
        neighbours = linear_probe.knn_out_of_fold(x, y, classes, linear_probe.folds(y, None, 0)).argmax(1)
        return {
            "knn": round(float((neighbours == y).mean()), 5),
            "logme": round(transferability.logme(x, y, classes), 5),
            "h_score": round(transferability.h_score(x, y, classes), 5),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    torch.set_num_threads(1)
    done = [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []
    for key in itertools.product(recipes.NETWORKS, recipes.BENCHMARKS, SHOTS):
        if key not in [(row["network"], row["data"], row["shots"]) for row in done]:
            found = dict(zip(("network", "data", "shots"), key, strict=True)) | scores(*features(*key, data))
            with OUT.open("a") as file:
                print(json.dumps(found), file=file)


if __name__ == "__main__":
    main()
