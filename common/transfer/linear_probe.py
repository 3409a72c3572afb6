"""A linear probe on frozen features, with nested cross-validation.

A ridge regression on one-hot classes has a closed form: one eigendecomposition serves all penalties, and the residual
of an image that was left out follows from those of all. So the penalty is chosen inside of every fold, at no cost in
honesty and at hardly any in time.

Shapes: features (N, D) float, labels (N,) int, groups (N,) int or None, logits (N, C) float.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from threadpoolctl import threadpool_limits

FOLDS = 5
N_NEIGHBORS = 20
PENALTIES = np.geomspace(1e-7, 10, 17)  # as shares of the standardised features' sum of squares
LEAST = 0.01  # of the features' typical spread: what one is taken to have (one image may light up a feature that is else dark)
ROUNDING = 1e-11  # eigenvalues below this share of the largest are zero


@dataclass(frozen=True)
class Probe:
    """A linear classifier of standardised features."""

    mean: ndarray  # (D,) of the features that it was fitted to
    scale: ndarray  # (D,) their standard deviations, none below `LEAST` of the typical; 1 where all are 0
    weights: ndarray  # (D, C)
    bias: ndarray  # (C,)
    penalty: float  # the one chosen, a factor of the squared weights

    def logits(self, features: ndarray) -> ndarray:
        """(N, C): about 1 for the class, about 0 for the others."""
        return ((features - self.mean) / self.scale) @ self.weights + self.bias

    def layer(self, temperature: float) -> tuple[ndarray, ndarray]:
        """(C, D) and (C,) float32: the linear layer that makes logits / temperature of features as they are."""
        weights = self.weights / self.scale[:, None]
        bias = self.bias - self.mean @ weights
        return tuple((part / temperature).astype(np.float32) for part in (weights.T, bias))


@dataclass(frozen=True)
class _Ridge:
    """What all penalties share: weighted, centred features and targets, and their spectrum."""

    mean: ndarray  # (D,) that the features were standardised by, with `scale`
    scale: ndarray
    x: ndarray  # (N, D)
    y: ndarray  # (N, C)
    x_mean: ndarray
    y_mean: ndarray
    values: ndarray  # (R,) see `_spectrum`
    vectors: ndarray  # (N, R)
    seen: ndarray  # (R, C) what the vectors see of the targets
    intercept: ndarray  # (N, 1): its part of the hat matrix, which it shares with no feature

    def probe(self, penalty: float) -> Probe:
        weights = self.x.T @ (self.vectors @ (self.seen / (self.values + penalty)[:, None]))
        return Probe(self.mean, self.scale, weights, self.y_mean - self.x_mean @ weights, penalty)


def fit(
    features: ndarray,
    labels: ndarray,
    classes: int,
    groups: ndarray | None = None,
    balanced: bool = False,
    penalties: ndarray = PENALTIES,
) -> Probe:
    """Ridge regression on one-hot classes, its penalty chosen by leaving out one image, or group, at a time.

    The squared error of what is left out decides, as in scikit-learn's RidgeClassifierCV, which this equals. With
    `balanced` every class weighs the same, however many images it has.
    """
    ridge = _ridge(features, labels, classes, balanced)
    tried = penalties * np.square(ridge.x).sum()
    errors = [_left_out(ridge, groups, penalty) for penalty in tried]
    return ridge.probe(float(tried[int(np.argmin(errors))]))


def ridge_path(
    features: ndarray, labels: ndarray, classes: int, groups: ndarray | None = None
) -> Iterator[tuple[Probe, float]]:
    """The regression at every penalty and the squared error of what is left out, see `fit`: for others to choose."""
    ridge = _ridge(features, labels, classes, balanced=False)
    for penalty in PENALTIES * np.square(ridge.x).sum():
        yield ridge.probe(float(penalty)), _left_out(ridge, groups, penalty)


def folds(labels: ndarray, groups: ndarray | None, seed: int) -> ndarray:
    """(N,): the fold of each image, of `FOLDS`, or as many as the smallest class has images or groups."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    kind = StratifiedKFold if groups is None else StratifiedGroupKFold
    units = (
        labels if groups is None else np.unique(np.stack((labels, groups)), axis=1)[0]
    )  # a group once per class
    cut = kind(
        max(2, min(FOLDS, np.unique(units, return_counts=True)[1].min())), shuffle=True, random_state=seed
    )
    fold = np.empty(len(labels), int)
    for i, (_, members) in enumerate(cut.split(labels, labels, groups)):
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
    """(N, C) logits of every image by a probe that has seen no image of its fold, not even to choose the penalty."""
    logits = np.empty((len(labels), classes), np.float32)

    def predict(turn: tuple[ndarray, ndarray]) -> None:
        rest, members = turn
        of_rest = None if groups is None else groups[rest]
        probe = fit(features[rest], labels[rest], classes, of_rest, balanced)
        logits[members] = probe.logits(features[members])

    with single_threaded_blas(), ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(predict, _turns(fold)))
    return logits


def knn_out_of_fold(
    features: ndarray,
    labels: ndarray,
    classes: int,
    fold: ndarray,
    k: int = N_NEIGHBORS,
    temperature: float = 0.07,
) -> ndarray:
    """(N, C) votes of the k nearest images outside of the fold by cosine, weighted by exp(cosine / temperature).

    Wu et al. 2018, arXiv 1805.01978, section 3.4, with their temperature; k as Caron et al. 2021, arXiv 2104.14294.
    """
    made = np.zeros((len(labels), classes), np.float32)
    for rest, members in _turns(fold):
        made[members] = knn_votes(features[rest], labels[rest], classes, features[members], k, temperature)
    return made


def knn_votes(
    features: ndarray,
    labels: ndarray,
    classes: int,
    asking: ndarray,
    k: int = N_NEIGHBORS,
    temperature: float = 0.07,
) -> ndarray:
    """(M, C) votes of the k nearest of the labelled images for each of those that ask, (M, D) features; see `neighbours`."""
    made = np.zeros((len(asking), classes), np.float32)
    labelled, asking = _unit(features), _unit(asking)
    for some in np.array_split(
        np.arange(len(asking)), -(-len(asking) // 1024)
    ):  # the similarities need not all be in memory
        similar = asking[some] @ labelled.T
        near = np.argpartition(-similar, min(k, len(labelled)) - 1, axis=1)[:, :k]
        weight = np.exp((np.take_along_axis(similar, near, 1) - 1) / temperature)
        np.add.at(made, (some[:, None], labels[near]), weight)
    return made


def single_threaded_blas() -> threadpool_limits:
    """Linear algebra on one thread each: several wait for each other, and on a busy machine took nine times as long."""
    return threadpool_limits(1, "blas")


def _turns(fold: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    for i in np.unique(fold):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)


def _unit(features: ndarray) -> ndarray:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(length, length, 1)


def _ridge(features: ndarray, labels: ndarray, classes: int, balanced: bool) -> _Ridge:
    mean, scale = features.mean(0, dtype=np.float64), features.std(0, dtype=np.float64)
    scale = np.maximum(scale, LEAST * np.sqrt(np.square(scale).mean()))
    scale[scale == 0] = 1
    x, y = (features - mean) / scale, np.eye(classes)[labels]
    weight = _class_weights(labels, classes) if balanced else np.ones(len(x))
    root, share = np.sqrt(weight)[:, None], (weight / weight.sum())[:, None]
    x_mean, y_mean = (share * x).sum(0), (share * y).sum(0)  # the intercept is not punished
    x, y = root * (x - x_mean), root * (y - y_mean)
    values, vectors = _spectrum(x)
    return _Ridge(mean, scale, x, y, x_mean, y_mean, values, vectors, vectors.T @ y, np.sqrt(share))


def _class_weights(labels: ndarray, classes: int) -> ndarray:
    counts = np.bincount(labels, minlength=classes)
    return (len(labels) / ((counts > 0).sum() * np.maximum(counts, 1)))[labels]


def _spectrum(x: ndarray) -> tuple[ndarray, ndarray]:
    """Of x x^T (N, N): the R eigenvalues that are not zero, and (N, R) their vectors, from the smaller of two products."""
    n, d = x.shape
    values, vectors = np.linalg.eigh(x @ x.T if n <= d else x.T @ x)
    kept = values > ROUNDING * max(values[-1], np.finfo(float).tiny)
    values, vectors = values[kept], vectors[:, kept]
    return values, vectors if n <= d else x @ (vectors / np.sqrt(values))


def _left_out(ridge: _Ridge, groups: ndarray | None, penalty: float) -> float:
    """The squared error of every image, predicted by all but itself, or all but its group.

    With H the matrix that makes predictions of targets, the residuals of a group left out are (I - H_GG)^-1 times
    those of the fit to all (Cook & Weisberg 1982, section 2.2; a group of one: Allen's PRESS). A group that is alone
    leaves nothing to learn from: its images are left out, one at a time.
    """
    vectors, intercept = ridge.vectors, ridge.intercept
    kept = ridge.values / (ridge.values + penalty)
    residual = ridge.y - vectors @ (kept[:, None] * ridge.seen)
    if groups is None or (groups == groups[0]).all():
        own = np.square(vectors) @ kept + intercept[:, 0] ** 2
        return float(np.square(residual / (1 - own)[:, None]).sum())
    error = 0.0
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        own = (vectors[members] * kept) @ vectors[members].T + intercept[members] @ intercept[members].T
        error += np.square(np.linalg.solve(np.eye(len(members)) - own, residual[members])).sum()
    return float(error)
