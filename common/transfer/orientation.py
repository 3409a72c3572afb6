"""Test whether images have an orientation: a probe recognises their rotation, or misclassifies rotated ones.

Rotations are predicted as by Gidaris et al. 2018, arXiv 1803.07728, here from frozen features.
"""

from typing import TypedDict

import numpy as np

from . import linear_probe
from .blas import single_threaded_blas
from .features import Extractor, extract_features
from .folds import assign_folds

TURNS = 4  # quarter turns: chance is 1/4
MAX_ROTATION = 0.32  # accuracy; flowers, the hardest photographs tried, have 0.34 (docs/training.md)
MIN_RATIO = 0.95  # of the accuracy on turned images to that on the images as they are
MIN_CLASS_RATIO = 0.5  # the same for each class: a class of vertical lines keeps a third
MIN_HITS = 10  # images of a class that are right as they are: fewer say little
MIN_LEAD = 0.1  # of the accuracy over the largest class: a probe that fails cannot notice that turns change classes


class Orientation(TypedDict):
    """Out-of-fold accuracies of two probes."""

    n: int  # images
    rotation: float  # of the number of quarter turns
    top1: float  # of the class, of images as they are
    top1_turned: float  # by the same probe, turned by one, two or three quarters
    class_ratio: float  # the lowest of any class, see `MIN_CLASS_RATIO`; 1 without `MIN_HITS` in any
    largest_class: float  # fraction of the images


def has_orientation(orientation: Orientation) -> bool:
    """Whether quarter turns change the images or their classes, or may do so unnoticed."""
    return (
        orientation["rotation"] > MAX_ROTATION
        or orientation["top1_turned"] < MIN_RATIO * orientation["top1"]
        or orientation["class_ratio"] < MIN_CLASS_RATIO
        or orientation["top1"] < orientation["largest_class"] + MIN_LEAD
    )


def turned_features(extractor: Extractor, pixels: np.ndarray) -> np.ndarray:
    """(4, N, D) of (N, h, h, 3) uint8: of every image, turned by 0 to 3 quarters."""
    turned = (np.ascontiguousarray(np.rot90(pixels, turn, (1, 2))) for turn in range(TURNS))
    return np.stack([extract_features(extractor, each, range(len(each))).values for each in turned])


def measure(features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None) -> Orientation:
    """`features`: (4, N, D) of N images turned by 0 to 3 quarters; labels and groups (N,) int."""
    n, n_classes = len(labels), labels.max() + 1
    turned = np.repeat(np.arange(TURNS), n)
    image = np.tile(np.arange(n) if groups is None else groups, TURNS)
    hits = np.empty((TURNS, n), bool)
    with single_threaded_blas():
        fold = assign_folds(turned, image, seed=0)
        turns = linear_probe.out_of_fold(np.concatenate(features), turned, TURNS, fold, image).argmax(1)
        fold = assign_folds(labels, groups, seed=0)
        for k in np.unique(fold):
            fitted, held_out = fold != k, fold == k
            probe = linear_probe.fit(features[0, fitted], labels[fitted], n_classes)
            for turn in range(TURNS):
                hits[turn, held_out] = probe.logits(features[turn, held_out]).argmax(1) == labels[held_out]
    return Orientation(
        n=n,
        rotation=float((turns == turned).mean()),
        top1=float(hits[0].mean()),
        top1_turned=float(hits[1:].mean()),
        class_ratio=_class_ratio(hits, labels),
        largest_class=float(np.bincount(labels).max() / n),
    )


def _class_ratio(hits: np.ndarray, labels: np.ndarray) -> float:
    """`hits`: (4, N) bool of images turned by 0 to 3 quarters."""
    upright, *turned = (np.bincount(labels, weights=each) for each in hits)
    tested = upright >= MIN_HITS
    return float((np.mean(turned, axis=0)[tested] / upright[tested]).min(initial=1.0))
