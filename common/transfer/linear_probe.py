"""A linear probe on frozen features, with nested cross-validation.

Ridge regression on one-hot classes has a closed form: one eigendecomposition serves all penalties, and leave-one-out
residuals follow from the hat matrix, so choosing the penalty within every fold costs almost nothing. Features are not
standardised: the more a feature varies over images, the more it can be trusted (docs/training.md).

Shapes: features (N, D) float, labels (N,) int, groups (N,) int or None, logits (N, C) float.
"""

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from threadpoolctl import threadpool_limits

FOLDS = 5
N_NEIGHBORS = 20
TEMPERATURE = 0.07  # of the votes of neighbours
CHUNK = 1024  # queries whose similarities are in memory at once
PENALTIES = np.geomspace(1e-7, 10, 17)  # relative to the centred features' sum of squares
ROUNDING = 1e-11  # eigenvalues below this fraction of the largest are zero


@dataclass(frozen=True)
class Probe:
    """A linear classifier of centred features."""

    mean: ndarray  # (D,) of the training features
    weights: ndarray  # (D, C)
    bias: ndarray  # (C,)
    penalty: float  # the factor of the squared weights in the loss

    def logits(self, features: ndarray) -> ndarray:
        """(N, C): about 1 for the class, about 0 for the others."""
        return (features - self.mean) @ self.weights + self.bias

    def layer(self, temperature: float) -> tuple[ndarray, ndarray]:
        """(C, D) and (C,) float32: the linear layer from raw features to logits / temperature."""
        bias = self.bias - self.mean @ self.weights
        return tuple((part / temperature).astype(np.float32) for part in (self.weights.T, bias))


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

    def probe(self, penalty: float) -> Probe:
        weights = self.x.T @ (self.vectors @ (self.projected / (self.values + penalty)[:, None]))
        return Probe(self.mean, weights, self.y_mean - self.x_mean @ weights, penalty)


def fit(
    features: ndarray, labels: ndarray, classes: int, groups: ndarray | None = None, balanced: bool = False
) -> Probe:
    """Ridge regression on one-hot classes, its penalty chosen by the squared error of leave-one-image-out, or -group-out.

    Equal to scikit-learn's RidgeClassifierCV. With `balanced` all classes have the same weight, whatever their size.
    """
    ridge = decompose(features, labels, classes, balanced)
    candidates = PENALTIES * np.square(ridge.x).sum()
    errors = [_leave_out_error(ridge, groups, penalty) for penalty in candidates]
    return ridge.probe(float(candidates[int(np.argmin(errors))]))


def ridge_path(
    features: ndarray, labels: ndarray, classes: int, groups: ndarray | None = None
) -> Iterator[tuple[Probe, float]]:
    """The regression at every penalty and its leave-out error, see `fit`."""
    ridge = decompose(features, labels, classes, balanced=False)
    for penalty in PENALTIES * np.square(ridge.x).sum():
        yield ridge.probe(float(penalty)), _leave_out_error(ridge, groups, penalty)


def folds(labels: ndarray, groups: ndarray | None, seed: int) -> ndarray:
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


def out_of_fold(
    features: ndarray,
    labels: ndarray,
    classes: int,
    fold: ndarray,
    groups: ndarray | None = None,
    balanced: bool = False,
) -> ndarray:
    """(N, C) logits of every image by a probe fitted to the other folds, its penalty chosen within them."""
    logits = np.empty((len(labels), classes), np.float32)

    def predict(indices: tuple[ndarray, ndarray]) -> None:
        train, test = indices
        train_groups = None if groups is None else groups[train]
        probe = fit(features[train], labels[train], classes, train_groups, balanced)
        logits[test] = probe.logits(features[test])

    with single_threaded_blas(), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(predict, _train_test(fold)))
    return logits


def knn_out_of_fold(features: ndarray, labels: ndarray, classes: int, fold: ndarray, k: int = N_NEIGHBORS) -> ndarray:
    """(N, C) votes of the k nearest images of the other folds by cosine, weighted by exp(cosine / `TEMPERATURE`).

    Wu et al. 2018, arXiv 1805.01978, section 3.4, with their temperature; k as Caron et al. 2021, arXiv 2104.14294.
    """
    votes = np.zeros((len(labels), classes), np.float32)
    for train, test in _train_test(fold):
        votes[test] = knn_votes(features[train], labels[train], classes, features[test], k)
    return votes


def knn_votes(features: ndarray, labels: ndarray, classes: int, queries: ndarray, k: int = N_NEIGHBORS) -> ndarray:
    """(M, C) votes of the k nearest labelled images for each query, (M, D) features; see `knn_out_of_fold`."""
    votes = np.zeros((len(queries), classes), np.float32)
    keys, queries = _normalise(features), _normalise(queries)
    for chunk in np.array_split(np.arange(len(queries)), -(-len(queries) // CHUNK)):
        cosine = queries[chunk] @ keys.T
        nearest = np.argpartition(-cosine, min(k, len(keys)) - 1, axis=1)[:, :k]
        weight = np.exp((np.take_along_axis(cosine, nearest, 1) - 1) / TEMPERATURE)
        np.add.at(votes, (chunk[:, None], labels[nearest]), weight)
    return votes


def single_threaded_blas() -> threadpool_limits:
    """One BLAS thread per caller: with several, a busy machine is nine times slower."""
    return threadpool_limits(1, "blas")


def _train_test(fold: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    """(indices of the other folds, indices of the fold) for every fold."""
    for i in np.unique(fold):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)


def _normalise(features: ndarray) -> ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length, length, 1)


def decompose(features: ndarray, labels: ndarray, classes: int, balanced: bool = False) -> Ridge:
    """The part of a fit to these images that all penalties share."""
    mean = features.mean(0, dtype=np.float64)
    x, y = features - mean, np.eye(classes)[labels]
    weight = _class_weights(labels, classes) if balanced else np.ones(len(x))
    root, fraction = np.sqrt(weight)[:, None], (weight / weight.sum())[:, None]
    x_mean, y_mean = (fraction * x).sum(0), (fraction * y).sum(0)  # no penalty on the intercept
    x, y = root * (x - x_mean), root * (y - y_mean)
    values, vectors = _spectrum(x)
    return Ridge(mean, x, y, x_mean, y_mean, values, vectors, vectors.T @ y, np.sqrt(fraction))


def _class_weights(labels: ndarray, classes: int) -> ndarray:
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)))[labels]


def _spectrum(x: ndarray) -> tuple[ndarray, ndarray]:
    """The R nonzero eigenvalues of x x^T (N, N) and their vectors (N, R), from the smaller of x x^T and x^T x."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(x @ x.T if n <= d else x.T @ x)
    nonzero = values > ROUNDING * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[nonzero], vectors[:, nonzero]
    return values, vectors if n <= d else x @ (vectors / np.sqrt(values))


def _leave_out_error(ridge: Ridge, groups: ndarray | None, penalty: float) -> float:
    """The squared error over all images, each predicted without itself, or without its group.

    If all images are one group, single images are left out (Allen's PRESS).
    """
    if groups is None or (groups == groups[0]).all():
        shrinkage = ridge.values / (ridge.values + penalty)
        leverage = np.square(ridge.vectors) @ shrinkage + ridge.intercept[:, 0] ** 2
        return float(np.square(_residuals(ridge, shrinkage) / (1 - leverage)[:, None]).sum())
    return float(np.square(leave_out_residuals(ridge, groups, penalty)).sum())


def leave_out_residuals(ridge: Ridge, groups: ndarray, penalty: float) -> ndarray:
    """(N, C): the targets less the predictions of a fit without the image's group.

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


def _residuals(ridge: Ridge, shrinkage: ndarray) -> ndarray:
    return ridge.y - ridge.vectors @ (shrinkage[:, None] * ridge.projected)
