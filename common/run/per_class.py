"""Precision, recall, F1 and AUROC of every class, with intervals over images or groups."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.special import softmax

from ..files.atomic import atomic_write
from ..files.csv_text import escape
from ..metrics import classification
from ..statistics import intervals

FILE = "per_class.csv"
METRICS = ("precision", "recall", "f1", "auroc")
ClassScores = dict[str, Any]  # "images", and {"value", "interval"} or None for each of `METRICS`


def class_scores(logits: ndarray, labels: ndarray, groups: ndarray | None = None) -> list[ClassScores]:
    """The scores of every class against the rest, for (N, C) logits and (N,) int labels; None where undefined.

    All are fractions with Wilson's 95 % interval, for the number of images, or of (N,) `groups`, that explains their
    variance (see `intervals.bootstrap` and `of_auroc`). That of F1 is linearised.
    """
    probabilities, predicted = softmax(np.asarray(logits, np.float64), axis=1), logits.argmax(1)
    return [
        {
            "images": int((labels == c).sum()),
            **decision_scores(predicted == c, labels == c, groups),
            "auroc": _auroc(probabilities[:, c], labels == c, groups),
        }
        for c in range(logits.shape[1])
    ]


def decision_scores(predicted: ndarray, positive: ndarray, groups: ndarray | None = None) -> ClassScores:
    """{"precision", "recall", "f1"} of (N,) bool decisions."""
    hits, either = predicted & positive, predicted | positive
    f1 = 2 * hits.sum() / max(1, predicted.sum() + positive.sum())
    # F1 is a ratio of two sums: the values have its mean and, to first order, its variance
    shares = 2 * hits - f1 * (predicted.astype(int) + positive)
    values = f1 + shares * (either.sum() / max(1, predicted.sum() + positive.sum()))
    return {
        "precision": _mean(hits, predicted, groups),
        "recall": _mean(hits, positive, groups),
        "f1": _mean(values, either, groups),
    }


def _mean(values: ndarray, selected: ndarray, groups: ndarray | None) -> dict[str, Any] | None:
    if not selected.any():
        return None
    values = values[selected].astype(float)
    interval = intervals.of_mean(values, groups=None if groups is None else groups[selected])
    return {"value": float(values.mean()), "interval": interval}


def _auroc(probabilities: ndarray, positive: ndarray, groups: ndarray | None) -> dict[str, Any] | None:
    if positive.all() or not positive.any():
        return None
    values = classification.one_vs_rest_values(probabilities, positive)
    interval = intervals.of_auroc(values, positive.astype(int), groups=groups)
    return {"value": float(values.mean()), "interval": interval}


def write_per_class(folder: Path, classes: Sequence[str], scores: Sequence[ClassScores]) -> None:
    """`per_class.csv`: a row per class, fractions with the ends of their intervals; undefined ones are empty."""
    with atomic_write(folder / FILE) as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("class", "images", *(f"{m}{end}" for m in METRICS for end in ("", "_low", "_high"))))
        for name, row in zip(classes, scores, strict=True):
            cells = (cell for score in map(row.get, METRICS) for cell in _cells(score))
            rows.writerow((escape(name), row["images"], *cells))


def _cells(score: dict[str, Any] | None) -> list[str]:
    """The value and the ends of its interval; empty where there is none."""
    numbers = [] if score is None else [score["value"], *(score["interval"] or ())]
    return [f"{number:.6g}" for number in numbers] + [""] * (3 - len(numbers))
