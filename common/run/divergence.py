"""Whether a network diverged, by its logits of the test images."""

import math

import numpy as np
from scipy.special import log_softmax

FACTOR = 5  # an NLL this many times that of equal probabilities


def format_divergence(logits: np.ndarray, labels: np.ndarray) -> str | None:
    """One line about (N, C) logits that are useless: the NLL is huge, or all images get the same class; else None."""
    n, n_classes = logits.shape
    equal = math.log(n_classes)
    nll = float(-log_softmax(np.asarray(logits, np.float64), axis=1)[np.arange(n), labels].mean())
    only = len(np.unique(logits.argmax(1))) == 1 and len(np.unique(labels)) > 1
    if not nll <= FACTOR * equal:
        return (
            f"the network has diverged: its NLL on test is {nll:,.4g}, that of equal probabilities {equal:.2f}; "
            "try a lower --lr"
        )
    if only:
        return "the network predicts one class for all test images: try another --lr, more steps or --class_weights"
    return None
