"""Predictions of all backbones on the test images of a dataset, for paired tests, calibration, confusion matrices."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from ..metrics import classification
from ..run.predictions import RunPredictions, has_finite_logits, read_predictions
from .sections import Cell, DatasetResults


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Shapes: N test images, C classes, S seeds."""

    labels: ndarray  # (N,)
    classes: tuple[str, ...]
    correct: Mapping[str, ndarray]  # by backbone: (S, N) bool
    margins: Mapping[str, ndarray]  # by backbone: (S, N) the last class's logit minus the first's
    logits: Mapping[str, ndarray]  # by backbone: (N, C) of its first seed
    confusion: Mapping[str, ndarray]  # by backbone: (C, C) counts over its seeds; rows are true classes
    untested: Mapping[str, str]  # by backbone: why not all of its runs have predictions of these images
    groups: ndarray | None = None  # (N,) of the images

    @property
    def why_untested(self) -> str:
        """ "resnet50 (predictions of other images), swin_t (...)"; "" if all are tested."""
        return ", ".join(f"{name} ({reason})" for name, reason in self.untested.items())

    def values(self, backbone: str, metric: str) -> ndarray:
        """(S, N) values whose mean is a seed's score, and whose resampled means have the score's variance.

        `metric`: top1, balanced_accuracy, or auroc for two classes (placements, DeLong et al. 1988, Biometrics 44:837).
        """
        if metric == "auroc":
            return np.stack(
                [
                    classification.auroc_values(np.stack([-margin, margin], 1), self.labels)
                    for margin in self.margins[backbone]
                ]
            )
        return classification.image_scores(self.correct[backbone], self.labels, metric)


def load_predictions(dataset: DatasetResults) -> Predictions | None:
    """Predictions of all runs on a dataset; None if no backbone has them for all its seeds."""
    first: RunPredictions | None = None
    correct, margins, logits, confusion, untested = {}, {}, {}, {}, {}
    for name, cell in dataset.cells.items():
        seeds = [read_predictions(run.folder) for run in cell.runs]
        if first is None and None not in seeds:
            first = seeds[0]
        if reason := _why_untested(cell, seeds, first):
            untested[name] = reason
            continue
        correct[name] = np.stack([s.logits.argmax(1) == first.labels for s in seeds])
        margins[name] = np.stack([s.logits[:, -1].astype(float) - s.logits[:, 0] for s in seeds])
        logits[name] = seeds[0].logits
        confusion[name] = sum(classification.confusion(s.logits, first.labels) for s in seeds)
    if first is None:
        return None
    return Predictions(
        labels=first.labels,
        classes=first.classes,
        correct=correct,
        margins=margins,
        logits=logits,
        confusion=confusion,
        untested=untested,
        groups=first.groups,
    )


def _why_untested(cell: Cell, seeds: Sequence[RunPredictions | None], first: RunPredictions | None) -> str:
    """Why the cell's runs cannot be compared with the first predictions, image by image; "": they can."""
    if None in seeds:
        finite = all(has_finite_logits(run.folder) for run in cell.runs)
        return "predictions missing or damaged" if finite else "logits that are NaN or infinite"
    same = all((s.images, s.classes) == (first.images, first.classes) for s in seeds)
    return "" if same else "predictions of other images"
