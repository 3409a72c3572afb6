"""Transferability scores of features without a classifier: LogME and H-score, higher is better.

Neither is an accuracy; neither is comparable between datasets. Shapes: features (N, D) float, labels (N,) int.
"""

import numpy as np
from numpy import ndarray

ROUNDS = 100
TINY = 1e-12


def logme(features: ndarray, labels: ndarray, classes: int) -> float:
    """The logarithm of the maximum evidence per image and class, in nats (You et al. 2021, arXiv 2102.11005).

    One class against the rest is a Bayesian linear regression y = F w + noise, with precision alpha of w and beta of the
    noise, from the fixed point of its Algorithm 1, for all classes at once.
    """
    f, y = np.asarray(features, np.float64), np.eye(classes)[labels]
    n, d = f.shape
    values, vectors = np.linalg.eigh(f @ f.T if n <= d else f.T @ f)
    values = values.clip(0)[:, None]  # (R, 1): squared singular values
    if n > d:
        vectors = f @ (vectors / np.sqrt(values.T.clip(TINY * values.max())))
    z2 = (vectors.T @ y) ** 2  # (R, C): the targets in the directions of the features
    unexplained = (np.square(y).sum(0) - z2.sum(0)).clip(0)  # (C,): orthogonal to all features

    def solve(ratio: ndarray) -> tuple[ndarray, ndarray]:
        """|w|^2 and |F w - y|^2 of the posterior mean, for alpha / beta."""
        weights = (values * z2 / (values + ratio) ** 2).sum(0)
        return weights, (z2 * (ratio / (values + ratio)) ** 2).sum(0) + unexplained

    alpha, beta = np.ones((2, classes))
    for _ in range(ROUNDS):
        ratio = alpha / beta
        gamma = (values / (values + ratio)).sum(0)  # effective number of parameters
        weights, residual = solve(ratio)
        alpha, beta = gamma / (weights + TINY), (n - gamma) / (residual + TINY)
        if np.all(np.abs(alpha / beta - ratio) <= 1e-6 * ratio):
            break
    weights, residual = solve(alpha / beta)
    log_det = np.log(alpha + beta * values).sum(0) + (d - len(values)) * np.log(alpha)
    evidence = (
        d * np.log(alpha) + n * np.log(beta) - log_det - beta * residual - alpha * weights - n * np.log(2 * np.pi)
    ) / 2
    return float(evidence.mean() / n)


def h_score(features: ndarray, labels: ndarray, classes: int) -> float:
    """tr(cov(f)^-1 cov(E[f | y])), 0 to C - 1 (Bao et al. 2019), the covariance shrunk (Ibrahim et al. 2021, arXiv 2110.06893).

    The shrinkage is that of Ledoit & Wolf: (1 - a) S + a mean(diag S) I, and the variance between classes is taken times 1 - a.
    """
    from sklearn.covariance import ledoit_wolf

    f = np.asarray(features, np.float64)
    f = f / max(np.sqrt(np.square(f).mean()), TINY)  # against rounding: the score does not depend on the scale
    covariance, shrinkage = ledoit_wolf(f)
    counts = np.bincount(labels, minlength=classes)
    present = np.flatnonzero(counts)
    means = np.stack([f[labels == c].mean(0) for c in present]) - f.mean(0)
    between = np.sqrt(counts[present] / len(f))[:, None] * means  # (C, D): root of the means' covariance
    covariance[np.diag_indices_from(covariance)] += TINY
    return float((1 - shrinkage) * np.sum(between.T * np.linalg.solve(covariance, between.T)))
