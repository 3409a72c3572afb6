"""What a finished run leaves: scores with their intervals, predictions, pictures and, last, `result.json`."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ..files.atomic import atomic_write
from ..metrics import classification
from ..spec import Samples, Split
from ..statistics import intervals
from . import plots, results

MISTAKES = 12  # to show


def score_with_intervals(logits: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "interval"}} of a split."""
    scores = classification.score(logits, labels)
    found = intervals.bootstrap(classification.scorer(logits, labels), len(labels), seed)
    return {name: {"value": value, "interval": found.get(name)} for name, value in scores.items()}


def calibrated_scores(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None, seed: int
) -> dict[str, dict[str, Any]] | None:
    """The scores of probabilities that a temperature changes; None without one."""
    if temperature is None:
        return None
    scores = score_with_intervals(logits / temperature, labels, seed)
    return {name: scores[name] for name in ("nll", "ece")}


def write(
    folder: Path,
    title: str,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: np.ndarray,
    samples: Samples,
    split: Split,
    picture: Callable[[int], np.ndarray],
) -> None:
    """`records`: of every evaluation while the network was trained; empty: it was not. `picture`: the (h, w, 3) uint8
    pixels of a test image, by its place among them.
    """
    labels = np.asarray([samples.labels[i] for i in split.test])
    confusion = classification.confusion(logits, labels)
    if records:
        with atomic_write(folder / "curve.png") as part:
            plots.learning_curve(part, records, result["best"]["epoch"], result["chosen_on"], title)
    with atomic_write(folder / "confusion.png") as part:
        plots.confusion_matrix(part, confusion, samples.classes, title)
    _mistakes(folder, title, logits, labels, samples.classes, picture)
    names = [samples.names[i] for i in split.test]
    results.write_predictions(folder, names, labels, logits, samples.classes)
    results.write_confusion(folder, confusion, samples.classes)
    results.write_json(folder / results.RESULT, result)  # it says that all the rest is there


def _mistakes(
    folder: Path,
    title: str,
    logits: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    picture: Callable[[int], np.ndarray],
) -> None:
    """The pictures that the network is wrong about and most sure of; none where it is right about all."""
    said, sure = logits.argmax(1), softmax(logits, axis=1).max(1)
    wrong = sorted(np.flatnonzero(said != labels), key=lambda i: -sure[i])[:MISTAKES]
    if wrong:
        captions = [f"{classes[labels[i]]}\npred: {classes[said[i]]}, {100 * sure[i]:.0f} %" for i in wrong]
        with atomic_write(folder / results.MISTAKES) as part:
            plots.mistakes(part, [picture(i) for i in wrong], captions, f"Most confident errors: {title}")
