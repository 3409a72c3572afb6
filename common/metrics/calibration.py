"""Calibration: reliability diagrams and temperature scaling.

Shapes: logits (N, C) float, labels (N,) int.
"""

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from .classification import ECE_BINS, bin_indices

RANGE = (0.01, 100.0)  # of temperatures; for some logits no finite one is the minimum


def fit_temperature(logits: ndarray, labels: ndarray) -> float:
    """T that minimises the NLL of logits / T (Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 4.2).

    Fit it on validation, then divide the test logits by it: probabilities change, classes do not. T > 1 means that the
    network was overconfident. Labels are smoothed as by Platt (1999, section 2.2) with Jeffreys' prior, so that 12 of 12
    correct are no certainty (LOG.md). The NLL is convex in 1 / T and has one minimum in log T; if that is outside
    [0.01, 100], the nearer end is returned.
    """
    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    rows = np.arange(n)
    smoothing = 0.5 / (n + 1)

    def nll(log_t: float) -> float:
        log_p = log_softmax(logits / np.exp(log_t), axis=1)
        correct = log_p[rows, labels]
        rest = (log_p.sum(1) - correct) / (classes - 1)
        return -((1 - smoothing) * correct + smoothing * rest).mean()

    return float(np.exp(minimize_scalar(nll, bounds=np.log(RANGE), method="bounded", options={"xatol": 1e-6}).x))


def reliability(logits: ndarray, labels: ndarray, bins: int = ECE_BINS) -> tuple[ndarray, ndarray, ndarray]:
    """Mean confidence, accuracy and number of images per bin of confidence, (bins,) each; NaN where a bin is empty.

    Bins are of equal width, those of the calibration error: sum(images * |accuracy - confidence|) / N is the ECE.
    """
    confidence = softmax(np.asarray(logits, np.float64), axis=1).max(1)
    indices = bin_indices(confidence, bins)
    images = np.bincount(indices, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean_confidence, accuracy = (
            np.bincount(indices, values, bins) / images for values in (confidence, logits.argmax(1) == labels)
        )
    return mean_confidence, accuracy, images
