"""The comparison of the top backbones, fine-tuned, on the held-out test images."""

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ..data.splits import split_file
from ..errors import UserError, disk_errors
from ..files.atomic import atomic_write
from ..files.csv_text import unescape
from ..models.names import slug
from ..run import results
from ..spec import RunConfig
from ..training import recipes
from . import ranking
from .dataset import ProbeData

SEARCH = ("--lr", "auto")  # the same search for every backbone


def run_dir(runs: Sequence[RunConfig], script: Sequence[str], data: ProbeData) -> Path:
    """The folder of these runs, named by a hash of their settings, so that the same command finds it again."""
    models = [(run.model, run.weights, run.image_size) for run in runs]
    key = json.dumps([models, *script[1:], data.split.fingerprint, *SEARCH, recipes.CLEAN_VERSION])
    name = runs[0].dataset.name
    return Path("runs") / f"recommend-{name}-{hashlib.sha256(key.encode()).hexdigest()[:10]}"


def run(
    runs: Sequence[RunConfig], script: Sequence[str], data: ProbeData, log: Callable[[str], None]
) -> dict[str, Any]:
    """Fine-tune every backbone with the data sheet's script, each in its own process, and rank them on test.

    `script`: its path and the arguments that all backbones share. Finished runs are not repeated, interrupted ones are
    resumed.

    Raises:
        UserError: the folder cannot be written to, or a run failed, after its own message.
    """
    folder = run_dir(runs, script, data)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    split = folder / "split.csv"  # the same test images and groups for all
    if not split.exists():
        with atomic_write(split) as part:
            split_file.write(part, data.samples, data.split)
    folders = []
    for number, config in enumerate(runs, 1):
        folders.append(folder / slug(config.model))
        title = f"{config.model}, {number} of {len(runs)}"
        if (folders[-1] / results.RESULT).exists():
            log(f"{title}: already fine-tuned in {folders[-1]}")
        else:
            log(f"fine-tuning {title}")
            log(_finetune(config, script, split, folders[-1]))
    finished = [json.loads((out / results.RESULT).read_text("utf-8")) for out in folders]
    names = [result["backbone"] for result in finished]
    images, labels, predicted = _predictions(folders)
    groups = None
    if data.samples.groups:
        group_of = dict(zip(data.samples.names, data.samples.groups, strict=True))
        groups = np.asarray([group_of[image] for image in images])
    standings = ranking.rank(names, predicted, labels, data.metric, runs[0].seed, groups)
    return {
        "metric": data.metric,
        "test_images": len(images),
        "split": str(split),
        "backbones": [asdict(standing) for standing in standings],
        "runs": dict(zip(names, map(str, folders), strict=True)),
    }


def _finetune(config: RunConfig, script: Sequence[str], split: Path, out: Path) -> str:
    """Start or resume a run; returns its output.

    Raises:
        UserError: it failed.
    """
    height, width = config.image_size
    model = ["-model", config.model, "--weights", config.weights, "--image_size", f"{height}x{width}"]
    args = [*script[1:], *model, "--split_file", str(split), "--out", str(out), *SEARCH]
    if (out / results.OPTIONS).exists():
        args = ["--resume", str(out)]
    process = subprocess.run([sys.executable, script[0], *args], stdout=subprocess.PIPE, text=True)
    if process.returncode:
        raise UserError(
            f"fine-tuning {config.model} ended with status {process.returncode}: see its message above"
        )
    return process.stdout.strip()


def _predictions(folders: Sequence[Path]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(N) names, (N,) labels and (K, N) predictions; all runs list the same test images in the same order."""
    tables = []
    for folder in folders:
        with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    names = sorted({row[column] for rows in tables for row in rows for column in ("label", "predicted")})
    classes = {name: i for i, name in enumerate(names)}
    labels = np.asarray([classes[row["label"]] for row in tables[0]])
    predicted = np.asarray([[classes[row["predicted"]] for row in rows] for rows in tables])
    return [unescape(row["image"]) for row in tables[0]], labels, predicted
