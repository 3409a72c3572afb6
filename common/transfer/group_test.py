"""Test whether images of one group resemble each other: what a probe loses if it is fitted without an image's group.

A ridge regression predicts every image without its group, and, for comparison, without as many random images of the
same classes. Both follow from one fit: with H the hat matrix, the residuals of the images G left out are (I - H_GG)^-1
times those of the fit to all (Cook & Weisberg 1982, section 2.2). The drop of the accuracy is a mean over images; its
interval is Student's over groups, at a level corrected for the number of groupings (Bonferroni).

Shapes: N images, C classes, features (N, D) float, labels (N,) int, groups (N,) int.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.special import stdtrit

from .blas import single_threaded_blas
from .ridge import Ridge, decompose, leave_out_residuals

MIN_GROUPS = 5  # of a class
MIN_ELIGIBLE = 0.5  # of the images, in classes with so many groups
MIN_SHARED = 0.1  # of the images, that share their group with others
PERMUTATIONS = 3
PENALTIES = np.geomspace(1e-5, 10, 7)  # relative to the centred features' sum of squares


@dataclass(frozen=True)
class Drop:
    """Accuracies of a probe fitted without some images, and the interval of their difference."""

    mixed: float  # without random images of the same classes
    apart: float  # without the image's group
    low: float
    high: float

    @property
    def estimate(self) -> float:
        return self.mixed - self.apart


@dataclass(frozen=True)
class _Fit:
    ridge: Ridge
    labels: ndarray
    penalty: float  # the best for single images


def testable(labels: ndarray, groups: ndarray) -> ndarray | None:
    """(N,) bool, the images of classes with enough groups; None if they are too few, or hardly any share a group."""
    pairs = np.unique(np.stack([labels, groups]), axis=1)
    n_groups = np.bincount(pairs[0], minlength=labels.max() + 1)
    eligible = n_groups[labels] >= MIN_GROUPS
    sizes = np.bincount(groups)[groups]
    if eligible.mean() < MIN_ELIGIBLE or len(np.unique(labels[eligible])) < 2 or (sizes > 1).mean() < MIN_SHARED:
        return None
    return eligible


def test_groupings(
    features: ndarray, labels: ndarray, groupings: Sequence[ndarray], seed: int = 0, correct: bool = True
) -> list[Drop | None]:
    """The drop of each grouping; None where it is not `testable`. Without `correct`, 95 % intervals of each alone."""
    masks = [testable(labels, groups) for groups in groupings]
    level = 1 - 0.05 / max(1, sum(mask is not None for mask in masks) if correct else 1)
    with single_threaded_blas():
        ridge = decompose(features, labels, labels.max() + 1)
        fit = _Fit(ridge, labels, _best_penalty(ridge, np.arange(len(labels))))
        return [
            None if mask is None else _drop(fit, groups, mask, level, np.random.default_rng(seed))
            for groups, mask in zip(groupings, masks, strict=True)
        ]


def _drop(fit: _Fit, groups: ndarray, mask: ndarray, level: float, rng: np.random.Generator) -> Drop:
    apart = _correct(fit, groups, _best_penalty(fit.ridge, groups))
    permuted = [permute(fit.labels, groups, rng) for _ in range(PERMUTATIONS)]
    mixed = np.mean([_correct(fit, each, fit.penalty) for each in permuted], axis=0)
    members = np.unique(groups[mask], return_inverse=True)[1]
    lost = (mixed - apart)[mask]
    deviations = np.bincount(members, lost - lost.mean())
    n = len(deviations)
    error = np.sqrt(n / (n - 1) * np.square(deviations).sum()) / len(lost)
    half = float(stdtrit(n - 1, (1 + level) / 2) * error)
    estimate = float(lost.mean())
    return Drop(float(mixed[mask].mean()), float(apart[mask].mean()), estimate - half, estimate + half)


def permute(labels: ndarray, groups: ndarray, rng: np.random.Generator) -> ndarray:
    """Groups of the same sizes and classes, of random images."""
    permuted = np.empty_like(groups)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        permuted[members] = groups[rng.permutation(members)]
    return permuted


def _best_penalty(ridge: Ridge, groups: ndarray) -> float:
    candidates = PENALTIES * np.square(ridge.x).sum()
    errors = [np.square(leave_out_residuals(ridge, groups, penalty)).sum() for penalty in candidates]
    return float(candidates[int(np.argmin(errors))])


def _correct(fit: _Fit, groups: ndarray, penalty: float) -> ndarray:
    """(N,) float: whether each image is classified correctly by a fit without its group.

    Without a group its classes are rarer, which alone would turn chance into zero: the class frequencies are not changed.
    """
    ridge, labels = fit.ridge, fit.labels
    sizes = np.bincount(groups)[groups][:, None]
    sums = np.zeros((groups.max() + 1, ridge.y.shape[1]))
    np.add.at(sums, groups, ridge.y)
    shift = -sums[groups] / (len(labels) - sizes)
    logits = ridge.y + ridge.y_mean - leave_out_residuals(ridge, groups, penalty) - shift
    return (logits.argmax(1) == labels).astype(float)
