"""What a finished run leaves: scores with their intervals, predictions, pictures and, last, `result.json`."""

from pathlib import Path
from typing import Any

import numpy as np

from . import pictures, results
from .atomic import whole
from .measure import metrics, stats
from .spec import Samples, Split


def scored(logits: np.ndarray, labels: np.ndarray, seed: int) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "interval"}} of a split."""
    scores = metrics.score(logits, labels)
    intervals = stats.bootstrap(metrics.scorer(logits, labels), len(labels), seed)
    return {name: {"value": value, "interval": intervals.get(name)} for name, value in scores.items()}


def calibrated(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None, seed: int
) -> dict[str, dict[str, Any]] | None:
    """The scores of probabilities that a temperature changes; None without one."""
    if temperature is None:
        return None
    scores = scored(logits / temperature, labels, seed)
    return {name: scores[name] for name in ("nll", "ece")}


def keep(
    folder: Path,
    title: str,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: np.ndarray,
    samples: Samples,
    split: Split,
) -> None:
    """`records`: of every evaluation while the network was trained; empty: it was not."""
    labels = np.asarray([samples.labels[i] for i in split.test])
    confusion = metrics.confusion(logits, labels)
    if records:
        with whole(folder / "curve.png") as part:
            pictures.learning_curve(part, records, result["best"]["epoch"], result["chosen_on"], title)
    with whole(folder / "confusion.png") as part:
        pictures.confusion_matrix(part, confusion, samples.classes, title)
    names = [samples.names[i] for i in split.test]
    results.write_predictions(folder, names, labels, logits, samples.classes)
    results.write_confusion(folder, confusion, samples.classes)
    results.write_json(folder / results.RESULT, result)  # it says that all the rest is there
