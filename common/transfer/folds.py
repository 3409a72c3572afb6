"""Folds of a cross-validation, stratified by class, that keep groups whole."""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy import ndarray

FOLDS = 5


def assign_folds(labels: ndarray, groups: ndarray | None, seed: int) -> ndarray:
    """(N,): the fold of each image; `FOLDS` folds, or fewer if the smallest class has fewer images or groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    splitter = StratifiedKFold if groups is None else StratifiedGroupKFold
    units = labels
    if groups is not None:
        units = np.unique(np.stack((labels, groups)), axis=1)[0]  # a group once per class
    n_splits = max(2, min(FOLDS, np.unique(units, return_counts=True)[1].min()))
    cv = splitter(n_splits, shuffle=True, random_state=seed)
    fold = np.empty(len(labels), int)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # a class of a single image
        for i, (_, members) in enumerate(cv.split(labels, labels, groups)):
            fold[members] = i
    return fold


def train_test(fold: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    """(indices of the other folds, indices of the fold) for every fold."""
    for i in np.unique(fold):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)
