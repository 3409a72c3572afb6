"""Whether a network diverged, by its logits of the test images."""

import math

import numpy as np
from scipy.special import log_softmax

FACTOR = 5  # an NLL this many times that of uniform predictions


def format_divergence(logits: np.ndarray, labels: np.ndarray) -> str | None:
    """One line about (N, C) logits that are useless: the NLL is huge, or all images get the same class; else None."""
    n, n_classes = logits.shape
    uniform = math.log(n_classes)
    nll = float(-log_softmax(np.asarray(logits, np.float64), axis=1)[np.arange(n), labels].mean())
    if not nll <= FACTOR * uniform:  # or NaN
        return (
            f"training has diverged: the NLL on test is {nll:,.4g}, that of uniform predictions {uniform:.2f}; "
            "try a lower --lr"
        )
    if len(np.unique(logits.argmax(1))) == 1 and len(np.unique(labels)) > 1:
        return "the network predicts one class for all test images: try another --lr, more steps or --class_weights"
    return None
