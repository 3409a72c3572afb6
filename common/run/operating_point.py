"""Decision thresholds for two classes, chosen on validation for a wanted recall."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.special import softmax

from ..errors import UserError
from .per_class import ClassScores, decision_scores
from .predictions import RunPredictions, read_predictions

RECALLS = (0.9, 0.95, 0.99)  # of the points that every result with two classes has


def operating_points(
    val: RunPredictions, test: RunPredictions, temperature: float | None
) -> list[dict[str, Any]] | None:
    """For each class and each of `RECALLS`: {"class", "recall", "threshold", "val", "test"}; None unless there are two classes.

    "threshold" is of the calibrated probability of "class"; "val" and "test" have "precision", "recall" and "f1" of the
    images at or above it. Those of validation are optimistic, because it chose the threshold.
    """
    if len(val.classes) != 2:
        return None
    return [
        {
            "class": name,
            "recall": recall,
            "threshold": (t := threshold_for(val, c, recall, temperature)),
            "val": scores_at(val, c, t, temperature),
            "test": scores_at(test, c, t, temperature),
        }
        for c, name in enumerate(val.classes)
        if (val.labels == c).any()
        for recall in RECALLS
    ]


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A class of two, and the calibrated probability from which on it is predicted."""

    classes: tuple[str, ...]
    positive: int  # of the classes
    threshold: float
    recall: float | None = None  # on validation, for which the threshold was chosen
    test: ClassScores | None = None  # None: the run folder has no test predictions

    @property
    def name(self) -> str:
        return self.classes[self.positive]

    def order(self, probabilities: Sequence[float]) -> list[int]:
        """The two classes, the decided one first."""
        decided = probabilities[self.positive] >= self.threshold
        return [self.positive, 1 - self.positive] if decided else [1 - self.positive, self.positive]


def choose_point(
    run_folder: Path, card: Mapping[str, Any], threshold: float | None, recall: float | None, positive: str | None
) -> OperatingPoint:
    """The operating point of a run with this threshold, or with the one for this recall on validation.

    `positive`: the class; None: the second one, as in scikit-learn.

    Raises:
        UserError: the run has no such class or not two of them, or no validation predictions.
    """
    classes, temperature = tuple(card["classes"]), card.get("temperature")
    if len(classes) != 2:
        raise UserError(f"--threshold is for two classes, the run has {len(classes)}")
    positive = classes[1] if positive is None else positive
    if positive not in classes:
        raise UserError(f"--positive {positive}: no such class, expected {' or '.join(classes)}")
    c = classes.index(positive)
    if recall is not None:
        val = read_predictions(run_folder, "val")
        if val is None or not (val.labels == c).any():
            raise UserError(
                f"no predictions of validation images of {positive!r} in {run_folder}: give a threshold as a number"
            )
        threshold = threshold_for(val, c, recall, temperature)
    test = read_predictions(run_folder)
    return OperatingPoint(
        classes=classes,
        positive=c,
        threshold=threshold,
        recall=recall,
        test=scores_at(test, c, threshold, temperature) if test else None,
    )


def format_point(point: OperatingPoint) -> str:
    """On one line, with the scores on test."""
    chosen = f" (recall {100 * point.recall:g} % on validation)" if point.recall is not None else ""
    scores = [
        f"{name} {100 * score['value']:.1f} % [{100 * score['interval'][0]:.1f}, {100 * score['interval'][1]:.1f}]"
        for name in ("recall", "precision")
        if point.test and (score := point.test[name])
    ]
    tested = f"; on test {', '.join(scores)}" if scores else ""
    return f"{point.name} where its probability is at least {100 * point.threshold:.4g} %{chosen}{tested}"


def threshold_for(predictions: RunPredictions, positive: int, recall: float, temperature: float | None) -> float:
    """The highest threshold that at least this fraction of the images of class `positive` reach; there are such images."""
    reached = np.sort(_probabilities(predictions, positive, temperature)[predictions.labels == positive])[::-1]
    return float(reached[math.ceil(recall * len(reached) - 1e-9) - 1])


def scores_at(predictions: RunPredictions, positive: int, threshold: float, temperature: float | None) -> ClassScores:
    """{"precision", "recall", "f1"} of class `positive` with this threshold, see `per_class.decision_scores`."""
    decided = _probabilities(predictions, positive, temperature) >= threshold
    return decision_scores(decided, predictions.labels == positive, predictions.groups)


def _probabilities(predictions: RunPredictions, positive: int, temperature: float | None) -> ndarray:
    """(N,) calibrated, of class `positive`."""
    return softmax(predictions.logits.astype(np.float64) / (temperature or 1), axis=1)[:, positive]
