"""Every backbone's predictions on every test image, for paired tests, calibration and confusion matrices."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray
from scipy.stats import rankdata

from ..metrics import classification
from .sections import Question


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A question's test images and what was said of them; N images, C classes."""

    labels: ndarray  # (N,)
    classes: tuple[str, ...]
    right: Mapping[str, ndarray]  # by backbone: (S, N) bool, a row per seed
    margins: Mapping[str, ndarray]  # by backbone: (S, N) the last class's logit less the first's
    logits: Mapping[str, ndarray]  # by backbone: (N, C) of its first seed
    confusion: Mapping[str, ndarray]  # by backbone: (C, C) counts over its seeds; rows are true classes
    without: tuple[str, ...]  # backbones of which some run has no predictions of these images

    def values(self, backbone: str, metric: str) -> ndarray:
        """(N,) values whose mean over images is the backbone's score, mean over seeds; their resamples spread as it does.

        In top-1; in balanced accuracy; of two classes in AUROC (placements, DeLong et al. 1988, Biometrics 44:837).
        """
        if metric == "auroc":
            return np.mean([_placements(margin, self.labels) for margin in self.margins[backbone]], axis=0)
        right = self.right[backbone].mean(0)
        return _by_class(right, self.labels) if metric == "balanced_accuracy" else right


def predictions_of(question: Question) -> Predictions | None:
    """The predictions of all runs of a question; None: no backbone has kept any."""
    images, labels, classes = None, np.empty(0, int), ()
    right, margins, logits, confusion, without = {}, {}, {}, {}, []
    for name, cell in question.cells.items():
        said = [read(row.folder) for row in cell.rows]
        if images is None and None not in said:
            images, labels, classes, _ = said[0]
        if None in said or any(one[0] != images or one[2] != classes for one in said):
            without.append(name)
            continue
        right[name] = np.stack([own.argmax(1) == labels for *_, own in said])
        margins[name] = np.stack([own[:, -1].astype(float) - own[:, 0] for *_, own in said])
        logits[name] = said[0][3]
        confusion[name] = sum(classification.confusion(own, labels) for *_, own in said)
    if images is None:
        return None
    return Predictions(
        labels=labels,
        classes=classes,
        right=right,
        margins=margins,
        logits=logits,
        confusion=confusion,
        without=tuple(without),
    )


def read(folder: Path) -> tuple[tuple[str, ...], ndarray, tuple[str, ...], ndarray] | None:
    """A run's test images, their labels (N,), the classes, the logits (N, C); None: it has not kept them whole."""
    try:
        logits = np.load(folder / "test_logits.npy")
        with open(folder / "confusion.csv", newline="", encoding="utf-8") as file:
            classes = tuple(next(csv.reader(file))[1:])
        with open(folder / "predictions.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        place = {name: i for i, name in enumerate(classes)}
        labels = np.array([place[row[1]] for row in rows])
    except (OSError, ValueError, LookupError, StopIteration):
        return None
    if logits.shape != (len(labels), len(classes)):
        return None
    return tuple(row[0] for row in rows), labels, classes, logits


def _by_class(values: ndarray, labels: ndarray) -> ndarray:
    """Mean over classes of the means of `values` within each, as a mean over images."""
    counts = np.bincount(labels)
    means = np.bincount(labels, values) / np.maximum(counts, 1)
    there = np.count_nonzero(counts)
    return means[counts > 0].mean() + (values - means[labels]) * len(labels) / (counts[labels] * there)


def _placements(margin: ndarray, labels: ndarray) -> ndarray:
    """The AUROC of class 1 against class 0, as a mean over images of their placements.

    A placement is the share of the other class's images that are on the right side of one.
    """
    placed = np.empty(len(labels))
    for label, sign in ((1, 1), (0, -1)):
        own = labels == label
        above = rankdata(sign * margin)[own] - rankdata(sign * margin[own])  # ties half
        placed[own] = above / np.count_nonzero(~own)
    values = _by_class(placed, labels)
    return 2 * values - values.mean()  # both classes' images move the whole score, not a half of it each
