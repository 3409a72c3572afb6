"""Whether probabilities mean what they say, and one number that mends most of it.

Shapes: logits (N, C) float, labels (N,) int.
"""

from dataclasses import dataclass

import numpy as np
from numpy import ndarray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from .metrics import ECE_BINS

RANGE = (0.05, 20.0)  # of temperatures that are looked for


def temperature(logits: ndarray, labels: ndarray) -> float:
    """The T > 0 by which to divide logits so that their NLL is least (Guo et al. 2017, arXiv 1706.04599, section 4.2).

    To be fitted on validation, never on test. The NLL is convex in 1/T, so there is one minimum. Where no image is
    wrong there is none at all, and the end of the range is returned.
    """
    logits = np.asarray(logits, np.float64)
    rows = np.arange(len(labels))

    def nll(log_t: float) -> float:
        return -log_softmax(logits / np.exp(log_t), axis=1)[rows, labels].mean()

    return float(np.exp(minimize_scalar(nll, bounds=np.log(RANGE), method="bounded").x))


@dataclass(frozen=True)
class Bin:
    """Images of about the same confidence, the probability of the predicted class."""

    confidence: float  # their mean
    accuracy: float
    count: int


def reliability(logits: ndarray, labels: ndarray, bins: int = ECE_BINS) -> list[Bin]:
    """The reliability diagram: bins of equal width that have images, those of the calibration error in `metrics`."""
    probabilities = softmax(np.asarray(logits, np.float64), axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        Bin(float(confidence[which == b].mean()), float(right[which == b].mean()), int((which == b).sum()))
        for b in np.unique(which)
    ]
