"""One fine-tuning run of a candidate, by its data sheet's script in a process of its own."""

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..files.csv_text import unescape
from ..run import results
from ..spec import RunConfig, Samples
from ..training import recipes


class Failed(UserError):
    """A run that ended with an error, after its own message."""

    def __init__(self, model: str, status: int):
        super().__init__(f"fine-tuning {model} ended with status {status}: see its message above")
        self.status = status


def folder(kind: str, config: RunConfig, *settings: Any) -> Path:
    """`runs/KIND-DATASET-HASH`: a hash of the settings, by which the same command finds its runs again."""
    key = hashlib.sha256(json.dumps([*settings, recipes.CLEAN_VERSION]).encode())
    return Path("runs") / f"{kind}-{config.dataset.name}-{key.hexdigest()[:10]}"


def finetune(config: RunConfig, script: Sequence[str], split: Path, out: Path, *options: str) -> str:
    """Start a run, or resume it if its folder exists; returns its output.

    `script`: its path and the arguments that all candidates share; `options` replace those of the same name.

    Raises:
        Failed: the run ended with an error, after its own message.
    """
    height, width = config.image_size
    model = ["-model", config.model, "--weights", config.weights, "--image_size", f"{height}x{width}"]
    args = [*script[1:], *model, "--split_file", str(split), "--out", str(out), *options]
    if (out / results.OPTIONS).exists():
        args = ["--resume", str(out)]
    process = subprocess.run([sys.executable, script[0], *args], stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise Failed(config.model, process.returncode)
    return process.stdout.strip()


def predictions(folders: Sequence[Path]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(N,) names, (N,) labels and (K, N) predictions on the same held-out images.

    Raises:
        UserError: predictions are missing or damaged, or of other images than those of the first run.
    """
    tables = [_read(folder) for folder in folders]
    for folder, rows in zip(folders, tables, strict=True):
        if [row["image"] for row in rows] != [row["image"] for row in tables[0]]:
            raise UserError(
                f"{folder} was tested on other images than {folders[0]}: remove it, and the command trains it anew"
            )
    names = sorted({row[column] for rows in tables for row in rows for column in ("label", "predicted")})
    classes = {name: i for i, name in enumerate(names)}
    labels = np.asarray([classes[row["label"]] for row in tables[0]])
    predicted = np.asarray([[classes[row["predicted"]] for row in rows] for rows in tables])
    return [unescape(row["image"]) for row in tables[0]], labels, predicted


def _read(run: Path) -> list[dict[str, str]]:
    try:
        with open(run / "predictions.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and all(row.get(column) for row in rows for column in ("image", "label", "predicted")):
            return rows
    except (OSError, ValueError, csv.Error):
        pass
    raise UserError(
        f"the predictions of {run} are missing or damaged: delete the folder, and the command trains it anew"
    )


def groups_of(samples: Samples, names: Sequence[str]) -> np.ndarray | None:
    """(N,) the groups of the images of these names; None without groups."""
    if not samples.groups:
        return None
    group_of = dict(zip(samples.names, samples.groups, strict=True))
    return np.asarray([group_of[name] for name in names])
