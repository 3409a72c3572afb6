"""How sure: intervals from resampling the test images."""

from collections.abc import Callable

import numpy as np

RESAMPLES = 1000


def bootstrap(
    scores: Callable[[np.ndarray], dict[str, float]],
    n: int,
    seed: int,
    resamples: int = RESAMPLES,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Bootstrap over images (Efron 1979): {metric: (low, high)}.

    `scores` maps how often each of the `n` images was drawn to {metric: score}. Intervals are percentiles; that of the
    calibration error, which resampling inflates, is reflected at the score (the "basic" interval). A metric that
    more than one in twenty resamples cannot have (AUROC of a rare class) gets none. Training noise is not in these
    intervals: seeds tell it.
    """
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(float)
        for name, value in scores(weights).items():
            draws.setdefault(name, []).append(value)
    tail = (1 - level) / 2
    intervals = {
        name: tuple(np.quantile(values, (tail, 1 - tail)).tolist())
        for name, values in draws.items()
        if len(values) >= level * resamples
    }
    if "ece" in intervals:
        value = scores(np.ones(n))["ece"]
        low, high = intervals["ece"]
        intervals["ece"] = (max(0.0, 2 * value - high), max(0.0, 2 * value - low))
    return intervals
