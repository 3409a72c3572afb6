"""The predictions in a run folder, written and read back: of the test images, and of the validation images."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy import ndarray
from scipy.special import softmax

from ..files.atomic import atomic_write
from ..files.csv_text import escape, unescape

Part = Literal["val", "test"]
CONFUSION = "confusion.csv"
TABLES: dict[Part, str] = {"val": "val_predictions.csv", "test": "predictions.csv"}


@dataclass(frozen=True)
class RunPredictions:
    """Predictions of one run."""

    images: tuple[str, ...]  # N names
    labels: ndarray  # (N,)
    classes: tuple[str, ...]
    logits: ndarray  # (N, C)
    groups: ndarray | None = None  # (N,)


def write_predictions(folder: Path, predictions: RunPredictions, part: Part = "test") -> None:
    """`predictions.csv` or `val_predictions.csv`, a row per image, and `test_logits.npy` or `val_logits.npy`.

    The logits are (N, C) float32 in the same order. The column `group` is there if the images have groups.
    """
    probabilities, predicted = softmax(predictions.logits, axis=1), predictions.logits.argmax(1)
    classes, groups = list(map(escape, predictions.classes)), predictions.groups
    with atomic_write(folder / TABLES[part]) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        header = ("image", "label", "predicted", "probability", "probability_of_label")
        rows.writerow(header if groups is None else (*header, "group"))
        for i, (name, label) in enumerate(zip(predictions.images, predictions.labels, strict=True)):
            p, p_label = probabilities[i, predicted[i]], probabilities[i, label]
            row = (escape(name), classes[label], classes[predicted[i]], f"{p:.6g}", f"{p_label:.6g}")
            rows.writerow(row if groups is None else (*row, escape(str(groups[i]))))
    with atomic_write(folder / f"{part}_logits.npy") as temporary:
        np.save(temporary, predictions.logits)


def write_confusion(folder: Path, counts: ndarray, classes: Sequence[str]) -> None:
    """`confusion.csv`: (C, C) counts; rows are true classes, columns predicted ones."""
    names = list(map(escape, classes))
    with atomic_write(folder / CONFUSION) as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("true \\ predicted", *names))
        rows.writerows((name, *row) for name, row in zip(names, counts.tolist(), strict=True))


def read_predictions(folder: Path, part: Part = "test") -> RunPredictions | None:
    """The predictions in a run folder; None if they are missing or damaged, or a logit is not a finite number."""
    try:
        logits = np.load(folder / f"{part}_logits.npy")
        with open(folder / CONFUSION, newline="", encoding="utf-8") as file:
            classes = tuple(map(unescape, next(csv.reader(file))[1:]))
        with open(folder / TABLES[part], newline="", encoding="utf-8") as file:
            header, *rows = ([unescape(cell) for cell in row] for row in csv.reader(file))
        label_of = {name: i for i, name in enumerate(classes)}
        labels = np.array([label_of[row[1]] for row in rows])
        groups = np.array([row[header.index("group")] for row in rows]) if "group" in header else None
    except (OSError, EOFError, ValueError, LookupError, StopIteration):
        return None
    if logits.shape != (len(labels), len(classes)) or not np.isfinite(logits).all():
        return None
    return RunPredictions(tuple(row[0] for row in rows), labels, classes, logits, groups)


def has_finite_logits(folder: Path) -> bool:
    """False if a logit of the run's test images is NaN or infinite; True if there are none at all."""
    try:
        return bool(np.isfinite(np.load(folder / "test_logits.npy")).all())
    except (OSError, EOFError, ValueError, TypeError):
        return True
