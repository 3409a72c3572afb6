"""One fine-tuning run of a candidate, by its data sheet's script in a process of its own."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..run import results
from ..run.predictions import read_predictions
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
    found = [read_predictions(folder) for folder in folders]
    for folder, one in zip(folders, found, strict=True):
        if one is None:
            raise UserError(
                f"the predictions of {folder} are missing or damaged: delete the folder, and the command trains it anew"
            )
        if (one.images, one.classes) != (found[0].images, found[0].classes):
            raise UserError(
                f"{folder} was tested on other images than {folders[0]}: remove it, and the command trains it anew"
            )
    return list(found[0].images), found[0].labels, np.stack([one.logits.argmax(1) for one in found])


def groups_of(samples: Samples, names: Sequence[str]) -> np.ndarray | None:
    """(N,) the groups of the images of these names; None without groups."""
    if not samples.groups:
        return None
    group_of = dict(zip(samples.names, samples.groups, strict=True))
    return np.asarray([group_of[name] for name in names])
