"""Out-of-fold scores of a linear probe fitted to an eighth, a quarter, half and all of its training images.

Shapes: features (N, D) float, labels (N,) int, folds (N,) int, groups (N,) int or None.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy import ndarray

from . import linear_probe
from .blas import single_threaded_blas

FRACTIONS = (1 / 8, 1 / 4, 1 / 2, 1)
REPEATS = (4, 3, 2, 1)  # random subsets of each fraction
MANY = 500  # images: one subset of so many is enough


def correctness(
    features: ndarray,
    labels: ndarray,
    folds: ndarray,
    groups: ndarray | None,
    balanced: bool,
    with_all: ndarray | None = None,
) -> ndarray:
    """(S, N): for each of the `FRACTIONS`, the fraction of its repeats in which an image is classified correctly.

    S <= 4: fractions that leave the smallest class less than an image, or a group, are skipped. `with_all` (N,) bool is the
    last row, if it is known.
    """
    rng, classes = np.random.default_rng(0), int(labels.max()) + 1
    units = labels if groups is None else np.unique(np.stack((labels, groups)), axis=1)[0]
    smallest = np.unique(units, return_counts=True)[1].min()
    steps = [
        (f, 1 if f * len(labels) >= MANY else n)
        for f, n in zip(FRACTIONS, REPEATS, strict=True)
        if f == 1 or f * smallest >= 1
    ]
    curve = np.zeros((len(steps), len(labels)))

    def predict(job: tuple[int, int, ndarray]) -> ndarray:
        _, fold, train = job
        of_train = None if groups is None else groups[train]
        probe = linear_probe.fit(features[train], labels[train], classes, of_train, balanced)
        return probe.logits(features[folds == fold]).argmax(1) == labels[folds == fold]

    jobs = [
        (step, fold, _subset(np.flatnonzero(folds != fold), labels, groups, fraction, rng))
        for step, (fraction, repeats) in enumerate(steps)
        if fraction < 1 or with_all is None
        for _ in range(repeats)
        for fold in np.unique(folds)
    ]
    with single_threaded_blas(), ThreadPoolExecutor(os.cpu_count()) as pool:
        for (step, fold, _), right in zip(jobs, pool.map(predict, jobs), strict=True):
            curve[step, folds == fold] += right / steps[step][1]
    if with_all is not None:
        curve[-1] = with_all
    return curve


def _subset(
    train: ndarray, labels: ndarray, groups: ndarray | None, fraction: float, rng: np.random.Generator
) -> ndarray:
    """A random fraction of every class, at least one image of it; with groups, of the groups."""
    if fraction == 1:
        return train
    if groups is not None:
        present = rng.permutation(np.unique(groups[train]))
        return train[np.isin(groups[train], present[: max(2, round(fraction * len(present)))])]
    parts = [rng.permutation(train[labels[train] == c]) for c in np.unique(labels[train])]
    return np.sort(np.concatenate([part[: max(1, round(fraction * len(part)))] for part in parts]))
