"""Votes of the nearest neighbours of frozen features.

Shapes: features (N, D) float, labels (N,) int.
"""

import numpy as np
from numpy import ndarray

from .folds import train_test

N_NEIGHBORS = 20
TEMPERATURE = 0.07  # of the votes
CHUNK = 1024  # queries whose similarities are in memory at once


def votes(features: ndarray, labels: ndarray, classes: int, queries: ndarray, k: int = N_NEIGHBORS) -> ndarray:
    """(M, C) votes of the k nearest labelled images for each query, (M, D) features; see `out_of_fold`."""
    found = np.zeros((len(queries), classes), np.float32)
    keys, queries = _normalise(features), _normalise(queries)
    for chunk in np.array_split(np.arange(len(queries)), -(-len(queries) // CHUNK)):
        cosine = queries[chunk] @ keys.T
        nearest = np.argpartition(-cosine, min(k, len(keys)) - 1, axis=1)[:, :k]
        weight = np.exp((np.take_along_axis(cosine, nearest, 1) - 1) / TEMPERATURE)
        np.add.at(found, (chunk[:, None], labels[nearest]), weight)
    return found


def out_of_fold(features: ndarray, labels: ndarray, classes: int, fold: ndarray, k: int = N_NEIGHBORS) -> ndarray:
    """(N, C) votes of the k nearest images of the other folds by cosine, weighted by exp(cosine / `TEMPERATURE`).

    Wu et al. 2018, arXiv 1805.01978, section 3.4, with their temperature; k as Caron et al. 2021, arXiv 2104.14294.
    """
    found = np.zeros((len(labels), classes), np.float32)
    for train, test in train_test(fold):
        found[test] = votes(features[train], labels[train], classes, features[test], k)
    return found


def _normalise(features: ndarray) -> ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length, length, 1)
