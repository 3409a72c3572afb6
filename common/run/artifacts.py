"""The files of a finished run: predictions, plots and, last, `result.json`."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from ..data.dataset import LoadedDataset
from ..files.atomic import atomic_write
from ..metrics import classification
from ..spec import RunConfig
from . import plots, results
from .disjoint import groups_of
from .fonts import drawable
from .operating_point import operating_points
from .per_class import class_scores, write_per_class
from .predictions import Part, RunPredictions, write_confusion, write_predictions

N_MISTAKES = 12  # shown


def write(
    config: RunConfig,
    dataset: LoadedDataset,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: dict[Part, np.ndarray],
) -> dict[str, Any]:
    """`records`: of every evaluation during training, empty for a probe. `logits`: (N, C) of test, and of val if there is one. Returns the result with the operating points of two classes."""
    folder, classes = config.out, dataset.samples.classes
    title = f"{config.dataset.title}, {result['backbone']}{', frozen' * (not records)}"
    found = {part: _predictions(dataset, part, values) for part, values in logits.items()}
    test = found["test"]
    confusion = classification.confusion(test.logits, test.labels)
    if records:
        with atomic_write(folder / "curve.png") as part:
            plots.learning_curve(part, records, result["best"]["epoch"], result["chosen_on"], title)
    with atomic_write(folder / "confusion.png") as part:
        plots.confusion_matrix(part, confusion, classes, title)
    _plot_mistakes(folder, title, dataset, test.labels, test.logits)
    for part, predictions in found.items():
        write_predictions(folder, predictions, part)
    write_confusion(folder, confusion, classes)
    write_per_class(folder, classes, class_scores(test.logits, test.labels, test.groups))
    if "val" in found:
        points = operating_points(found["val"], test, result["temperature"])
        result = {**result, "operating_points": points}
    results.write_json(folder / results.RESULT, result)  # last: it marks the run as finished
    return result


def _predictions(dataset: LoadedDataset, part: Part, logits: np.ndarray) -> RunPredictions:
    samples, positions = dataset.samples, getattr(dataset.split, part)
    labels = np.asarray([samples.labels[i] for i in positions])
    names = tuple(samples.names[i] for i in positions)
    return RunPredictions(names, labels, samples.classes, logits, groups_of(dataset, part))


def _plot_mistakes(
    folder: Path, title: str, dataset: LoadedDataset, labels: np.ndarray, logits: np.ndarray
) -> None:
    """Plot the misclassified images with the highest confidence, if there are any."""
    names, positions = list(map(drawable, dataset.samples.classes)), dataset.indices[list(dataset.split.test)]
    predicted, confidence = logits.argmax(1), softmax(logits, axis=1).max(1)
    wrong = sorted(np.flatnonzero(predicted != labels), key=lambda i: -confidence[i])[:N_MISTAKES]
    if wrong:
        captions = [
            f"{names[labels[i]]}\npred: {names[predicted[i]]}, {100 * confidence[i]:.0f} %" for i in wrong
        ]
        images = [dataset.pixels[positions[i]] for i in wrong]
        with atomic_write(folder / results.MISTAKES) as part:
            plots.mistakes(part, images, captions, f"Most confident errors: {title}")
