"""A finished run of random weights, without training: its files are real, its scores are made up."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from common.models.build import create_model, get_backbone
from common.run import results
from common.run.predictions import RunPredictions, write_confusion, write_predictions
from common.training import recipes

CLASSES = ("ant", "bee | wasp", "<cow>")


def make_run(folder: Path, model: str, side: int, squash: bool = False, native: tuple[int, int] | None = None) -> Path:
    """The files that a run leaves, of a network for images of `side` pixels."""
    folder.mkdir()
    torch.manual_seed(0)
    row = get_backbone(model)
    net = create_model(row, len(CLASSES), None, size=(side, side)).train()
    with torch.no_grad():
        net(torch.randn(8, 3, side, side))  # batch statistics: a fresh network is nearly constant
    card = {
        "backbone": row.name,
        "classes": CLASSES,
        "native": native,
        "preprocess": {**row.preprocess((side, side)).to_dict(), "squash": squash, "crop_pct": recipes.mean_crop(0.5)},
        "temperature": 1.5,
    }
    results.write_weights(folder / results.BEST, net, card)
    labels, predicted = np.array([0] * 6 + [1] * 5), np.array([0] * 5 + [1] * 5 + [2])
    names = tuple(f"{i}.png" for i in range(11))
    write_predictions(folder, RunPredictions(names, labels, CLASSES, np.eye(3, dtype=np.float32)[predicted]))
    write_confusion(folder, np.diag([5, 4, 0]) + np.eye(3, k=1, dtype=int), CLASSES)
    (folder / "confusion.png").write_bytes(b"a picture")
    (folder / results.RESULT).write_text(json.dumps(result(row.name, row.weights)))
    return folder


def result(backbone: str, weights: str) -> dict:
    return {
        "dataset": "folder",
        "folder": "animals",
        "backbone": backbone,
        "weights": weights,
        "protocol": "clean",
        "batch_size": 8,
        "recipe": asdict(recipes.clean(2, 5, 1e-3, pretrained=True)),
        "chosen_on": "val",
        "seed": 0,
        "split": {"fingerprint": "0123456789abcdef", "train": 40, "val": 8, "test": 11},
        "caveats": ["Invented."],
        "parameters": 10**6,
        "macs": 10**8,
        "metric": "top1",
        "test": {
            "top1": {"value": 9 / 11, "interval": [0.52, 0.95]},
            "nll": {"value": 0.5, "interval": [0.4, 0.6]},
            "auroc": {"value": 0.9, "interval": None},
        },
        "cost": {"train_seconds": 12.3},
        "device": "a CPU",
        "threads": 1,
        "torch": "2.9",
        "commit": None,
    }
