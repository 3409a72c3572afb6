"""How well features fit the classes, told without predicting: LogME and H-score. Higher is better.

Neither is an accuracy, and neither compares between datasets. Shapes: features (N, D) float, labels (N,) int.
"""

import numpy as np
from numpy import ndarray

ROUNDS = 100
TINY = 1e-12


def logme(features: ndarray, labels: ndarray, classes: int) -> float:
    """The logarithm of the maximum evidence per image and class, in nats (You et al. 2021, arXiv 2102.11005).

    Each class against the rest is a Bayesian linear regression y = F w + noise, w of precision alpha, noise of precision
    beta; both are found by the fixed point of its Algorithm 1, here for all classes at once.
    """
    f, y = np.asarray(features, np.float64), np.eye(classes)[labels]
    n, d = f.shape
    squares, vectors = np.linalg.eigh(f @ f.T if n <= d else f.T @ f)
    squares = squares.clip(0)[:, None]  # (R, 1): of the singular values
    if n > d:
        vectors = f @ (vectors / np.sqrt(squares.T.clip(TINY * squares.max())))
    z2 = (vectors.T @ y) ** 2  # (R, C): the targets in the directions of the features
    beside = (np.square(y).sum(0) - z2.sum(0)).clip(0)  # (C,): what no feature reaches
    alpha, beta = np.ones((2, classes))
    for _ in range(ROUNDS):
        ratio = alpha / beta
        gamma = (squares / (squares + ratio)).sum(0)  # effective number of parameters
        weights = (squares * z2 / (squares + ratio) ** 2).sum(0)  # |w|^2
        missed = (z2 * (ratio / (squares + ratio)) ** 2).sum(0) + beside  # |F w - y|^2
        alpha, beta = gamma / (weights + TINY), (n - gamma) / (missed + TINY)
        if np.all(np.abs(alpha / beta - ratio) <= 1e-6 * ratio):
            break
    ratio = alpha / beta
    weights = (squares * z2 / (squares + ratio) ** 2).sum(0)
    missed = (z2 * (ratio / (squares + ratio)) ** 2).sum(0) + beside
    spread = np.log(alpha + beta * squares).sum(0) + (d - len(squares)) * np.log(alpha)
    evidence = (
        d * np.log(alpha)
        + n * np.log(beta)
        - spread
        - beta * missed
        - alpha * weights
        - n * np.log(2 * np.pi)
    ) / 2
    return float(evidence.mean() / n)


def h_score(features: ndarray, labels: ndarray, classes: int) -> float:
    """tr(cov(f)^-1 cov(E[f | y])), 0 to C - 1 (Bao et al. 2019), the covariance shrunk (Ibrahim et al. 2021, arXiv 2110.06893).

    The shrinkage is that of Ledoit & Wolf: (1 - a) S + a mean(diag S) I, and the variance between classes is taken times 1 - a.
    """
    from sklearn.covariance import ledoit_wolf

    f = np.asarray(features, np.float64)
    f = f / max(
        np.sqrt(np.square(f).mean()), TINY
    )  # the score does not depend on the scale, its rounding would
    covariance, shrinkage = ledoit_wolf(f)
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    means = np.stack([f[labels == c].mean(0) for c in present]) - f.mean(0)
    between = (
        np.sqrt(counts[present] / len(f))[:, None] * means
    )  # (C, D), whose square is the covariance of the means
    covariance[np.diag_indices_from(covariance)] += TINY
    return float((1 - shrinkage) * np.sum(between.T * np.linalg.solve(covariance, between.T)))
