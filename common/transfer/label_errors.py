"""Confident learning: labels that out-of-fold predictions contradict.

Northcutt, Jiang & Chuang 2021, arXiv 1911.00068, section 3. Shapes: features (N, D) float, labels (N,) int, groups (N,)
int or None, probabilities (N, C) float.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import softmax

from ..metrics.calibration import fit_temperature
from . import linear_probe
from .folds import assign_folds

PLANTED = 0.05  # of the labels, in `planted_test`


@dataclass(frozen=True)
class PlantedTest:
    """The method's success on labels that were changed at random."""

    fraction_found: float  # recall: fraction of the changed labels that are found
    precision: float  # fraction of the found labels that were changed; real errors count as false alarms


def probabilities(features: ndarray, labels: ndarray, groups: ndarray | None, seed: int) -> ndarray:
    """(N, C) of a linear probe fitted to the other folds, calibrated by one temperature."""
    classes = int(labels.max()) + 1
    fold = assign_folds(labels, groups, seed)
    logits = linear_probe.out_of_fold(features, labels, classes, fold, groups)
    return softmax(logits / fit_temperature(logits, labels), axis=1)


def find(probabilities: ndarray, labels: ndarray) -> tuple[ndarray, ndarray]:
    """Indices (M,) of labels that are probably wrong, the most certain first, and the classes (M,) that replace them.

    An image counts for a class if its probability is at least the mean probability of the images labelled so (equation
    2 of the paper). The off-diagonal of the confident joint (equation 1) has the images that count for another class
    than their label; they are ranked by p(suggested) - p(label).
    """
    images = np.arange(len(labels))
    given = probabilities[images, labels]
    counts = np.bincount(labels, minlength=probabilities.shape[1])
    thresholds = np.bincount(labels, given, len(counts)) / np.maximum(counts, 1)
    confident = np.where(probabilities >= thresholds, probabilities, 0.0)
    suggested = confident.argmax(1)
    margin = probabilities[images, suggested] - given
    found = np.flatnonzero((confident.max(1) > 0) & (suggested != labels) & (margin > 0))
    found = found[np.argsort(-margin[found], kind="stable")]
    return found, suggested[found]


def change(labels: ndarray, fraction: float, seed: int) -> tuple[ndarray, ndarray]:
    """The labels with a random fraction of them changed to a random other class, and the indices of these."""
    rng, classes = np.random.default_rng(seed), int(labels.max()) + 1
    changed = rng.permutation(len(labels))[: round(fraction * len(labels))]
    noisy = labels.copy()
    noisy[changed] = (labels[changed] + rng.integers(1, classes, len(changed))) % classes
    return noisy, changed


def planted_test(features: ndarray, labels: ndarray, groups: ndarray | None, seed: int) -> PlantedTest:
    """Change `PLANTED` of the labels, at least one, and search for them."""
    noisy, changed = change(labels, max(PLANTED, 1 / len(labels)), seed)
    found, _ = find(probabilities(features, noisy, groups, seed), noisy)
    hits = len(np.intersect1d(found, changed))
    return PlantedTest(hits / len(changed), hits / max(1, len(found)))
