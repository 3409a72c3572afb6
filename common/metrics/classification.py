"""Logits of a whole split -> scores. Pure functions of numpy arrays; every one takes a weight per image.

Weights make the bootstrap cheap: a resample is a vector of how often each image was drawn. With all weights one the
scores equal scikit-learn's (and, for ECE, torchmetrics'); a test holds them to it.

Shapes: logits (N, C) float, labels (N,) int, weights (N,) float.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy import ndarray
from scipy.special import log_softmax, softmax

ECE_BINS = 15


def scorer(logits: ndarray, labels: ndarray) -> Callable[[ndarray], dict[str, float]]:
    """Prepare all that does not depend on the weights; returns weights -> {metric: score}.

    Scores are fractions, NLL is in nats. `top5` is left out where there are five classes or fewer, `auroc` (one
    against the rest, mean over classes) where a class or its rest has no image.
    """
    logits = np.asarray(logits, np.float64)
    n, classes = logits.shape
    right = logits.argmax(1) == labels
    own = logits[np.arange(n), labels]
    nll = -log_softmax(logits, axis=1)[np.arange(n), labels]
    probabilities = softmax(logits, axis=1)
    confidence = probabilities.max(1)
    bins = bin_indices(confidence, ECE_BINS)
    cells = labels * classes + logits.argmax(1)
    in_top5 = (logits > own[:, None]).sum(1) < 5
    ranked = [_Ranked(probabilities[:, c], labels == c) for c in ([1] if classes == 2 else range(classes))]

    def scores(weights: ndarray) -> dict[str, float]:
        total = weights.sum()
        counts = np.bincount(cells, weights, classes * classes).reshape(classes, classes)
        hit, truth, said = counts.diagonal(), counts.sum(1), counts.sum(0)
        seen, met = truth > 0, truth + said > 0
        gap = np.bincount(bins, weights * (confidence - right), ECE_BINS)
        result = {"top1": hit.sum() / total}
        if classes > 5:
            result["top5"] = (weights * in_top5).sum() / total
        result["macro_f1"] = (2 * hit[met] / (truth + said)[met]).mean()
        result["balanced_accuracy"] = (hit[seen] / truth[seen]).mean()
        aurocs = [ranking.auroc(weights) for ranking in ranked]
        if not np.isnan(aurocs).any():
            result["auroc"] = np.mean(aurocs)
        result["nll"] = (weights * nll).sum() / total
        result["ece"] = np.abs(gap).sum() / total
        return {name: float(value) for name, value in result.items()}

    return scores


def primary_metric(sheets: str, classes: int) -> str:
    """The metric for model selection and headline: the sheet's, but AUROC, not top-1, for two classes."""
    return "auroc" if classes == 2 and sheets == "top1" else sheets


def score(logits: ndarray, labels: ndarray) -> dict[str, float]:
    """{metric: score} of a split."""
    return scorer(logits, labels)(np.ones(len(labels)))


def effective_sample_size(metric: str, labels: ndarray) -> float:
    """Of how many images a score is a share, as far as its error goes: all; or, where classes count alike, fewer if some are rare.

    A mean of C classes of n_c images, all equally well recognised, has the error of a share of C^2 / sum(1 / n_c). AUROC is taken
    for such a mean.
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return len(labels) if metric == "top1" else len(counts) ** 2 / (1 / counts).sum()


def standard_error(share: float, images: float) -> float:
    """Of a share of so many images, as if one more were right and one wrong, so that it is never 0 (Agresti & Caffo 2000)."""
    share = (share * images + 1) / (images + 2)
    return math.sqrt(share * (1 - share) / (images + 2))


def bin_indices(confidence: ndarray, bins: int) -> ndarray:
    """(N,) confidences in 0..1 -> (N,) the bin of equal width that each falls into."""
    return np.minimum((confidence * bins).astype(int), bins - 1)


def confusion(logits: ndarray, labels: ndarray) -> ndarray:
    """(C, C) counts: row the true class, column the predicted one."""
    classes = logits.shape[1]
    return np.bincount(labels * classes + logits.argmax(1), minlength=classes * classes).reshape(
        classes, classes
    )


class _Ranked:
    """Images in the order of a score: P(a positive ranks above a negative), ties half (Mann-Whitney).

    What lies below is looked up for positives alone: of many classes each has few.
    """

    def __init__(self, values: ndarray, positive: ndarray):
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        self.positives = np.flatnonzero(positive[self.order])
        tied = [np.searchsorted(ordered, ordered[self.positives], side) for side in ("left", "right")]
        self.edges = [
            (edge, np.searchsorted(self.positives, edge)) for edge in tied
        ]  # among all, among positives

    def auroc(self, weights: ndarray) -> float:
        weights = weights[self.order]
        own = weights[self.positives]
        everyone, positive = (np.append(0, np.cumsum(w)) for w in (weights, own))
        below, up_to = (everyone[among_all] - positive[among_own] for among_all, among_own in self.edges)
        pairs = positive[-1] * (everyone[-1] - positive[-1])
        return own @ (below + up_to) / 2 / pairs if pairs else np.nan
