"""A linear probe on frozen features, with nested cross-validation.

Ridge regression on one-hot classes has a closed form, so choosing the penalty within every fold costs almost nothing. Features are not
standardised: the more a feature varies over images, the more it can be trusted (docs/training.md).

Shapes: features (N, D) float, labels (N,) int, groups (N,) int or None, logits (N, C) float.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from .blas import single_threaded_blas
from .folds import train_test
from .ridge import Ridge, decompose, leave_out_error

PENALTIES = np.geomspace(1e-7, 10, 17)  # relative to the centred features' sum of squares


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


def fit(
    features: ndarray, labels: ndarray, classes: int, groups: ndarray | None = None, balanced: bool = False
) -> Probe:
    """Ridge regression on one-hot classes, its penalty chosen by the squared error of leave-one-image-out, or -group-out.

    Equal to scikit-learn's RidgeClassifierCV. With `balanced` all classes have the same weight, whatever their size.
    """
    ridge = decompose(features, labels, classes, balanced)
    candidates = PENALTIES * np.square(ridge.x).sum()
    errors = [leave_out_error(ridge, groups, penalty) for penalty in candidates]
    return _probe(ridge, float(candidates[int(np.argmin(errors))]))


def ridge_path(
    features: ndarray, labels: ndarray, classes: int, groups: ndarray | None = None
) -> Iterator[tuple[Probe, float]]:
    """The regression at every penalty and its leave-out error, see `fit`."""
    ridge = decompose(features, labels, classes, balanced=False)
    for penalty in PENALTIES * np.square(ridge.x).sum():
        yield _probe(ridge, float(penalty)), leave_out_error(ridge, groups, penalty)


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
        list(pool.map(predict, train_test(fold)))
    return logits


def _probe(ridge: Ridge, penalty: float) -> Probe:
    return Probe(ridge.mean, *ridge.coefficients(penalty), penalty)
