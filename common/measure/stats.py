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
    """Percentile bootstrap over images (Efron 1979): {metric: (low, high)}.

    `scores` maps how often each of the `n` images was drawn to {metric: score}. A metric that some resample cannot
    have (AUROC of a rare class) is judged by the others. Training noise is not in these intervals: seeds tell it.
    """
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(n, size=n), minlength=n).astype(float)
        for name, value in scores(weights).items():
            draws.setdefault(name, []).append(value)
    tail = (1 - level) / 2
    return {name: tuple(np.quantile(values, (tail, 1 - tail)).tolist()) for name, values in draws.items()}
