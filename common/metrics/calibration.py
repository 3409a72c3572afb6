"""Calibration: reliability diagrams and temperature scaling.

Shapes: logits (N, C) float, labels (N,) int.
"""

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from .classification import ECE_BINS, bin_indices

RANGE = (0.01, 100.0)  # of temperatures: the ends are for logits that no finite temperature can serve


def fit_temperature(logits: ndarray, labels: ndarray) -> float:
    """T that minimises the NLL of logits / T (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2).

    Fit it to validation images, divide the test logits by it: classes and top-1 stay, probabilities move. Above one the
    network was overconfident. Labels are smoothed by `doubt`, as by Platt (1999, section 2.2), here with Jeffreys' prior:
    twelve right of twelve do not make a thirteenth certain (LOG.md). The NLL is convex in 1 / T, hence has one minimum in
    log T; where it has none between 0.01 and 100, the nearer end is returned.
    """
    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    rows = np.arange(n)
    doubt = 0.5 / (n + 1)  # the share of labels that are taken to be any other

    def nll(log_t: float) -> float:
        told = log_softmax(logits / np.exp(log_t), axis=1)
        right = told[rows, labels]
        others = (told.sum(1) - right) / (classes - 1)
        return -((1 - doubt) * right + doubt * others).mean()

    return float(
        np.exp(minimize_scalar(nll, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6}).x)
    )


def reliability(logits: ndarray, labels: ndarray, bins: int = ECE_BINS) -> tuple[ndarray, ndarray, ndarray]:
    """Mean confidence, accuracy and number of images per bin of confidence, (bins,) each; NaN where a bin is empty.

    Bins are of equal width, those of the calibration error: sum(images * |accuracy - confidence|) / N is the ECE.
    """
    confidence = softmax(np.asarray(logits, np.float64), axis=1).max(1)
    place = bin_indices(confidence, bins)
    images = np.bincount(place, minlength=bins)
    with np.errstate(invalid="ignore"):
        said, right = (
            np.bincount(place, values, bins) / images for values in (confidence, logits.argmax(1) == labels)
        )
    return said, right, images
