"""The files of a finished run: predictions, plots and, last, `result.json`."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import LoadedDataset
from ..files.atomic import atomic_write
from ..metrics import classification
from ..spec import RunConfig
from . import plots, results
from .disjoint import groups_of
from .mistakes import write_mistakes
from .operating_point import operating_points
from .per_class import class_scores, write_per_class
from .predictions import Part, RunPredictions, write_confusion, write_predictions

if TYPE_CHECKING:
    from torch import nn


def write(
    config: RunConfig,
    dataset: LoadedDataset,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: dict[Part, np.ndarray],
    net: "nn.Module | None",
) -> dict[str, Any]:
    """Returns the result with the operating points of two classes.

    Args:
        records: of every evaluation during training; empty for a probe.
        logits: (N, C) of test, and of val if there is one.
        net: the network that made them, which explains its mistakes; None: they are shown alone.
    """
    folder, classes = config.out, dataset.samples.classes
    title = f"{config.dataset.title}, {result['backbone']}{', frozen' * (not records)}"
    predictions = {part: _predictions(dataset, part, values) for part, values in logits.items()}
    test = predictions["test"]
    confusion = classification.confusion(test.logits, test.labels)
    if records:
        with atomic_write(folder / "curve.png") as part:
            plots.learning_curve(part, records, result["best"]["epoch"], result["chosen_on"], title)
    with atomic_write(folder / "confusion.png") as part:
        plots.confusion_matrix(part, confusion, classes, title)
    write_mistakes(folder, title, dataset, test, net)
    for part, of_part in predictions.items():
        write_predictions(folder, of_part, part)
    write_confusion(folder, confusion, classes)
    write_per_class(folder, classes, class_scores(test.logits, test.labels, test.groups))
    if "val" in predictions:
        points = operating_points(predictions["val"], test, result["temperature"])
        result = {**result, "operating_points": points}
    results.write_json(folder / results.RESULT, result)  # last: it marks the run as finished
    return result


def _predictions(dataset: LoadedDataset, part: Part, logits: np.ndarray) -> RunPredictions:
    samples, positions = dataset.samples, getattr(dataset.split, part)
    labels = np.asarray([samples.labels[i] for i in positions])
    names = tuple(samples.names[i] for i in positions)
    return RunPredictions(names, labels, samples.classes, logits, groups_of(dataset, part))
