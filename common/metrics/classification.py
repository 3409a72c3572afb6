"""Scores from the logits of a whole split, as pure functions of numpy arrays.

A weight per image makes the bootstrap cheap: a resample is a vector of how often each image was drawn. With unit weights
the scores equal scikit-learn's and, for ECE, torchmetrics'.

Shapes: logits (N, C) float, labels (N,) int, weights (N,) float.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy import ndarray
from scipy.special import log_softmax, softmax

ECE_BINS = 15


def scorer(logits: ndarray, labels: ndarray) -> Callable[[ndarray], dict[str, float]]:
    """Precompute everything that does not depend on the weights; returns weights -> {metric: score}.

    Scores are fractions, NLL is in nats. `top5` needs six classes or more. For AUROC see `auroc_values`.
    """
    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    predicted, rows = logits.argmax(1), np.arange(n)
    correct = predicted == labels
    nll = -log_softmax(logits, axis=1)[rows, labels]
    confidence = softmax(logits, axis=1).max(1)
    bins, errors = bin_indices(confidence, ECE_BINS), confidence - correct
    in_top5 = (logits > logits[rows, labels][:, None]).sum(1) < 5

    def scores(weights: ndarray) -> dict[str, float]:
        total = weights.sum()
        hits = np.bincount(labels, weights * correct, classes)
        support, predictions = (np.bincount(c, weights, classes) for c in (labels, predicted))
        present, occurring = support > 0, support + predictions > 0
        result = {"top1": hits.sum() / total}
        if classes > 5:
            result["top5"] = (weights @ in_top5) / total
        result["macro_f1"] = (2 * hits[occurring] / (support + predictions)[occurring]).mean()
        result["balanced_accuracy"] = (hits[present] / support[present]).mean()
        result["nll"] = (weights @ nll) / total
        result["ece"] = np.abs(np.bincount(bins, weights * errors, ECE_BINS)).sum() / total
        return {name: float(value) for name, value in result.items()}

    return scores


def primary_metric(metric: str, classes: int) -> str:
    """The metric for model selection and headline: the data sheet's, with AUROC instead of top-1 for two classes."""
    return "auroc" if classes == 2 and metric == "top1" else metric


def score(logits: ndarray, labels: ndarray) -> dict[str, float]:
    """{metric: score} of a split; without `auroc` if a class, or its rest, has no image."""
    scores = scorer(logits, labels)(np.ones(len(labels)))
    values = auroc_values(softmax(np.asarray(logits, np.float64), axis=1), labels)
    return scores if values is None else scores | {"auroc": float(values.mean())}


def auroc_values(scores: ndarray, labels: ndarray) -> ndarray | None:
    """AUROC, one class against the rest, mean over classes, as a mean over images.

    The values are the score plus each image's influence on it: their variance / N is DeLong's variance of the AUROC
    (DeLong et al. 1988, Biometrics 44:837), which the bootstrap approaches. A tie counts half.

    Args:
        scores: (N, C), higher for the likelier class; of two classes only the second column counts.

    Returns:
        (N,) values; None if a class, or its rest, has no image.
    """
    n, classes = scores.shape
    counts = np.bincount(labels, minlength=classes)
    if counts.min() == 0 or counts.max() == n:
        return None
    columns = [1] if classes == 2 else range(classes)
    return sum(one_vs_rest_values(scores[:, c], labels == c) for c in columns) / len(columns)


def one_vs_rest_values(scores: ndarray, is_positive: ndarray) -> ndarray:
    """(N,) as in `auroc_values`, of one class with these (N,) scores; it and its rest have images."""
    positives, negatives = scores[is_positive], scores[~is_positive]
    placements = np.empty(len(scores))  # fraction of the other side against which an image is ranked correctly
    placements[is_positive] = _fraction_below(positives, negatives)
    placements[~is_positive] = 1 - _fraction_below(negatives, positives)
    auroc, fraction = placements[is_positive].mean(), is_positive.mean()
    return auroc + (placements - auroc) / np.where(is_positive, fraction, 1 - fraction)


def _fraction_below(values: ndarray, others: ndarray) -> ndarray:
    """The fraction of `others` below each value; a tie counts half."""
    others = np.sort(others)
    below, up_to = (np.searchsorted(others, values, side) for side in ("left", "right"))
    return (below + up_to) / 2 / len(others)


def image_scores(correct: ndarray, labels: ndarray, metric: str) -> ndarray:
    """(..., N) values per image of `correct` (..., N), whose mean is top-1 or, for any other metric, balanced accuracy.

    Their variance is that of the score for given class frequencies: an image counts by its difference from the mean of its class.
    """
    correct = np.asarray(correct, float)
    if metric == "top1":
        return correct
    counts = np.bincount(labels)
    sums = np.zeros((*correct.shape[:-1], len(counts)))
    np.add.at(sums, (..., labels), correct)
    means = sums / np.maximum(counts, 1)
    weights = len(labels) / (np.count_nonzero(counts) * counts[labels])
    return means[..., counts > 0].mean(-1, keepdims=True) + weights * (correct - means[..., labels])


def effective_sample_size(metric: str, labels: ndarray) -> float:
    """The number of images whose top-1 would have the standard error of this score; less than N if some classes are rare.

    The mean over C classes of n_c images, all recognized equally well, has the error of a fraction of C^2 / sum(1 / n_c)
    images. AUROC is treated as such a mean.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return len(labels) if metric == "top1" else len(counts) ** 2 / (1 / counts).sum()


def standard_error(fraction: float, images: float) -> float:
    """Standard error of a fraction of images, with one success and one failure added: never 0 (Agresti & Caffo 2000)."""
    fraction = (fraction * images + 1) / (images + 2)
    return math.sqrt(fraction * (1 - fraction) / (images + 2))


def bin_indices(confidence: ndarray, bins: int) -> ndarray:
    """(N,) confidences in 0..1 -> (N,) the bin of equal width that each falls into."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def confusion(logits: ndarray, labels: ndarray) -> ndarray:
    """(C, C) counts: row the true class, column the predicted one."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes * classes).reshape(classes, classes)
