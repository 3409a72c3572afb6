"""The first few of a recommendation, fine-tuned and compared on the held-out test images."""

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
from ..run import results
from ..spec import RunConfig
from . import ranking
from .material import Material

SEARCH = ("--lr", "auto")  # the same search for the learning rate for everybody


def place(runs: Sequence[RunConfig], script: Sequence[str], material: Material) -> Path:
    """The folder of these runs, by all that determines them: the same question finds it again."""
    told = [(run.model, run.weights, run.image_size) for run in runs]
    known = json.dumps([told, *script[1:], material.split.fingerprint, *SEARCH])
    name = runs[0].dataset.name
    return Path("runs") / f"recommend-{name}-{hashlib.sha256(known.encode()).hexdigest()[:10]}"


def play(
    runs: Sequence[RunConfig],
    script: list[str],
    folder: Path,
    material: Material,
    tell: Callable[[str], None],
) -> dict[str, Any]:
    """Fine-tune every run's backbone by the sheet's script, each in a process of its own; compare them on test.

    `script`: its path and what it is told for every backbone. `folder` gets the split and the run folders; runs that it
    holds are not repeated, and those that broke off go on.

    Raises:
        UserError: the folder cannot be written to, or a run did not end well; its own message stands above.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    split = folder / "split.csv"  # so that groups stay whole, and test is what was held out
    if not split.exists():
        with atomic_write(split) as part:
            split_file.write(part, material.samples, material.split)
    played: list[dict[str, Any]] = []
    for number, run in enumerate(runs, 1):
        out = folder / run.model.replace(":", "_")
        height, width = run.image_size
        told = ["-model", run.model, "--weights", run.weights, "--image_size", f"{height}x{width}"]
        told = [*script[1:], *told, "--split_file", str(split), "--out", str(out), *SEARCH]
        if (out / results.OPTIONS).exists():
            told = ["--resume", str(out)]
        if (out / results.RESULT).exists():
            tell(f"{run.model}, {number} of {len(runs)}, is fine-tuned already: {out}")
        else:
            tell(f"fine-tuning {run.model}, {number} of {len(runs)}")
            done = subprocess.run([sys.executable, script[0], *told], stdout=subprocess.PIPE, text=True)
            if done.returncode:
                raise UserError(
                    f"fine-tuning {run.model} ended with status {done.returncode}: its message is above"
                )
            tell(done.stdout.strip())
        played.append({"run": str(out), **json.loads((out / results.RESULT).read_text("utf-8"))})
    images, labels, predicted = _predictions([Path(result["run"]) for result in played])
    names = [result["backbone"] for result in played]
    groups = None
    if material.samples.groups:
        of = dict(zip(material.samples.names, material.samples.groups, strict=True))
        groups = np.asarray([of[image] for image in images])
    order = ranking.rank(names, predicted, labels, material.metric, runs[0].seed, groups)
    return {
        "metric": material.metric,
        "test_images": len(images),
        "split": str(split),
        "backbones": [asdict(standing) for standing in order],
        "runs": dict(zip(names, (result["run"] for result in played), strict=True)),
    }


def _predictions(folders: list[Path]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(N) names, (N,) labels and (K, N) predictions of the same test images in the same order: the split is the same."""
    tables = []
    for folder in folders:
        with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
            tables.append(list(csv.DictReader(file)))
    names = sorted({row[column] for rows in tables for row in rows for column in ("label", "predicted")})
    classes = {name: i for i, name in enumerate(names)}
    labels = np.asarray([classes[row["label"]] for row in tables[0]])
    predicted = np.asarray([[classes[row["predicted"]] for row in rows] for rows in tables])
    return [row["image"] for row in tables[0]], labels, predicted
