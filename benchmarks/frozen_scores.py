"""kNN, LogME and H-score of the networks of recipes.py, on the images of train and validation.

    python benchmarks/frozen_scores.py --data FOLDER

A line of `results/frozen_scores.jsonl` per dataset, number of training images per class (null: all) and candidate, those whose probe recipes.py
trains; lines already there are skipped. `--data` as for recipes.py.
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
from benchmarks.default_runs import candidate
from common.models import build
from common.transfer import knn, transferability
from common.transfer.blas import single_threaded_blas
from common.transfer.features import MAX_BATCH, forward_features
from common.transfer.folds import assign_folds

OUT = ROOT / "benchmarks" / "results" / "frozen_scores.jsonl"


def features(network: str, bench: str, form: recipes.Form, data: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """(N, D) features and (N,) labels of train and validation; the number of classes."""
    row = build.get_backbone(network)
    parts, classes, _ = recipes.load(bench, data, row.mean, row.std, row.interpolation, form)
    state = recipes.initial_weights(network, form)
    values = []
    for part in (parts["train"], parts["val"]):
        torch.manual_seed(0)
        net = build.create_model(row, classes, state, size=part.pixels.shape[1:3])
        values.append(forward_features(net, row, replace(part, batch_size=MAX_BATCH["cpu"]), "fp32").values)
    return np.concatenate(values), np.concatenate([parts[part].labels for part in ("train", "val")]), classes


def scores(x: np.ndarray, y: np.ndarray, classes: int) -> dict[str, float]:
    with single_threaded_blas():
        neighbours = knn.out_of_fold(x, y, classes, assign_folds(y, None, 0)).argmax(1)
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
    rows = [json.loads(line) for line in OUT.read_text().splitlines()] if OUT.exists() else []
    done = {(row["network"], row["data"], row["shots"]) for row in rows}
    for network, bench, conf in itertools.chain(*(itertools.product(*stage) for stage in recipes.STAGES.values())):
        form = recipes.form_of(conf)
        key = (candidate(network, conf), bench, form.shots)
        if not conf["steps"] and key not in done and recipes.is_possible(form, bench):
            done.add(key)
            found = dict(zip(("network", "data", "shots"), key, strict=True))
            with OUT.open("a") as file:
                print(json.dumps(found | scores(*features(network, bench, form, data))), file=file)


if __name__ == "__main__":
    main()
