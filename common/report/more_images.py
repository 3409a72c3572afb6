"""The gain of twice the training images, from runs on several numbers of them."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from ..metrics.classification import image_scores
from ..run.predictions import RunPredictions, read_predictions
from ..statistics.learning_curve import Gain, gain_of_doubling
from ..statistics.posterior import SEED_SD
from .sections import Cell

STEP = 1.5  # smallest factor between two training set sizes of a curve
MIN_STEPS = 3  # sizes of a curve
NOISE = 0.01 * SEED_SD * 2**0.5  # of the difference of two runs, as a fraction
MISFIT = 0.4  # standard error of a fine-tuned gain due to the law, as a fraction of it (benchmarks/doubling.py)


def gain(cells: Mapping[float, Cell], metric: str) -> Gain | None:
    """Of a backbone's `metric` (top1 or balanced_accuracy), as a fraction; `cells`: its runs by number of training images.

    None if the runs are on fewer than three sizes, each at least half as large again as the one before, or have no predictions for
    the same test images.
    """
    steps = _sizes(cells)
    if len(steps) < MIN_STEPS:
        return None
    runs = [[read_predictions(run.folder) for run in cells[images].runs] for images in steps]
    if not _are_of_the_same_images([one for seeds in runs for one in seeds]):
        return None
    first = runs[0][0]
    correct = [np.mean([one.logits.argmax(1) == first.labels for one in seeds], 0) for seeds in runs]
    scores, noise = image_scores(np.array(correct), first.labels, metric), NOISE / min(map(len, runs)) ** 0.5
    return gain_of_doubling(scores, first.groups, noise=noise, misfit=MISFIT, sizes=steps)


def _sizes(cells: Mapping[float, Cell]) -> list[float]:
    """The largest number of training images, the next smaller one by `STEP`, and so on, ascending."""
    steps = [max(cells)]
    while smaller := [images for images in cells if images * STEP <= steps[0]]:
        steps.insert(0, max(smaller))
    return steps


def _are_of_the_same_images(predictions: list[RunPredictions | None]) -> bool:
    return None not in predictions and all(
        (one.images, one.classes) == (other.images, other.classes) for one, other in pairwise(predictions)
    )
