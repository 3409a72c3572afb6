"""Ridge regression on one-hot classes: one eigendecomposition serves all penalties, and residuals of images left out follow from it.

Shapes: features (N, D) float, labels (N,) int, groups (N,) int or None.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray

CHUNK = 1024  # images whose hat matrices are in memory at once
ROUNDING = 1e-11  # eigenvalues below this fraction of the largest are zero


@dataclass(frozen=True)
class Ridge:
    """The part of a fit that all penalties share: weighted, centred features and targets, and their spectrum."""

    mean: ndarray  # (D,) of the features
    x: ndarray  # (N, D)
    y: ndarray  # (N, C)
    x_mean: ndarray
    y_mean: ndarray
    values: ndarray  # (R,) see `_spectrum`
    vectors: ndarray  # (N, R)
    projected: ndarray  # (R, C) the targets in the directions of the vectors
    intercept: ndarray  # (N, 1): its outer product is the intercept's part of the hat matrix

    def coefficients(self, penalty: float) -> tuple[ndarray, ndarray]:
        """(D, C) and (C,): weights of the features less `mean`, and biases."""
        weights = self.x.T @ (self.vectors @ (self.projected / (self.values + penalty)[:, None]))
        return weights, self.y_mean - self.x_mean @ weights


def decompose(features: ndarray, labels: ndarray, classes: int, balanced: bool = False) -> Ridge:
    """The part of a fit to these images that all penalties share."""
    mean = features.mean(0, dtype=np.float64)
    x, y = features - mean, np.eye(classes)[labels]
    weight = class_weights(labels, classes) if balanced else np.ones(len(x))
    root, fraction = np.sqrt(weight)[:, None], (weight / weight.sum())[:, None]
    x_mean, y_mean = (fraction * x).sum(0), (fraction * y).sum(0)  # no penalty on the intercept
    x, y = root * (x - x_mean), root * (y - y_mean)
    values, vectors = _spectrum(x)
    return Ridge(mean, x, y, x_mean, y_mean, values, vectors, vectors.T @ y, np.sqrt(fraction))


def leave_out_error(ridge: Ridge, groups: ndarray | None, penalty: float) -> float:
    """The squared error over all images, each predicted without itself, or without its group.

    If all images are one group, single images are left out (Allen's PRESS).
    """
    if groups is None or (groups == groups[0]).all():
        shrinkage = ridge.values / (ridge.values + penalty)
        leverage = np.square(ridge.vectors) @ shrinkage + ridge.intercept[:, 0] ** 2
        return float(np.square(_residuals(ridge, shrinkage) / (1 - leverage)[:, None]).sum())
    return float(np.square(leave_out_residuals(ridge, groups, penalty)).sum())


def leave_out_residuals(ridge: Ridge, groups: ndarray, penalty: float) -> ndarray:
    """(N, C): the targets minus the predictions of a fit without the image's group.

    With H the hat matrix, the residuals of a group left out are (I - H_GG)^-1 times those of the fit to all
    (Cook & Weisberg 1982, section 2.2). With H_GG = U U^T and more images than columns of U, Woodbury's identity inverts
    the smaller I - U^T U instead. Groups of one size are solved together.
    """
    shrinkage = ridge.values / (ridge.values + penalty)
    residuals = _residuals(ridge, shrinkage)
    columns = np.hstack((ridge.vectors * np.sqrt(shrinkage), ridge.intercept))  # the hat matrix is their outer product
    left_out = np.empty_like(residuals)
    order, sizes = np.argsort(groups, kind="stable"), np.bincount(groups)
    for size in np.unique(sizes[sizes > 0]):
        members = order[sizes[groups[order]] == size].reshape(-1, size)
        batch = max(1, CHUNK // size)
        for chunk in (members[i : i + batch] for i in range(0, len(members), batch)):
            u, r = columns[chunk], residuals[chunk]
            ut = u.transpose(0, 2, 1)
            if size <= columns.shape[1]:
                left_out[chunk] = np.linalg.solve(np.eye(size) - u @ ut, r)
            else:
                left_out[chunk] = r + u @ np.linalg.solve(np.eye(columns.shape[1]) - ut @ u, ut @ r)
    return left_out


def class_weights(labels: ndarray, classes: int) -> ndarray:
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)))[labels]


def _spectrum(x: ndarray) -> tuple[ndarray, ndarray]:
    """The R nonzero eigenvalues of x x^T (N, N) and their vectors (N, R), from the smaller of x x^T and x^T x."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(x @ x.T if n <= d else x.T @ x)
    nonzero = values > ROUNDING * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[nonzero], vectors[:, nonzero]
    return values, vectors if n <= d else x @ (vectors / np.sqrt(values))


def _residuals(ridge: Ridge, shrinkage: ndarray) -> ndarray:
    return ridge.y - ridge.vectors @ (shrinkage[:, None] * ridge.projected)
