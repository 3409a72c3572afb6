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
from .disjoint import groups_of_test
from .fonts import drawable

N_MISTAKES = 12  # shown


def write(
    config: RunConfig,
    dataset: LoadedDataset,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: np.ndarray,
) -> None:
    """`records`: of every evaluation during training, empty for a probe. `logits`: (N, C) of the test images."""
    folder, samples, test = config.out, dataset.samples, dataset.split.test
    title = f"{config.dataset.title}, {result['backbone']}{', frozen' * (not records)}"
    labels = np.asarray([samples.labels[i] for i in test])
    confusion = classification.confusion(logits, labels)
    if records:
        with atomic_write(folder / "curve.png") as part:
            plots.learning_curve(part, records, result["best"]["epoch"], result["chosen_on"], title)
    with atomic_write(folder / "confusion.png") as part:
        plots.confusion_matrix(part, confusion, samples.classes, title)
    _plot_mistakes(folder, title, dataset, labels, logits)
    names, groups = [samples.names[i] for i in test], groups_of_test(dataset)
    results.write_predictions(folder, names, labels, logits, samples.classes, groups)
    results.write_confusion(folder, confusion, samples.classes)
    results.write_json(folder / results.RESULT, result)  # last: it marks the run as finished


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
