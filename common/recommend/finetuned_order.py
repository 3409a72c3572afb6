"""P(best after fine-tuning), predicted from the probes and ImageNet's top-1.

In log odds, over the candidates of a dataset: fine-tuned = uplift + mean probe + beta (probe - mean) + gamma (top-1 - mean) + delta transfer + eps.
`transfer` is what published results have beyond top-1 (published.csv); 0 for networks that are not there.
The constants are measured (benchmarks/finetuned_order.py, docs/recommend.md): eps is large.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy import ndarray
from scipy.special import expit, logit

from ..statistics import posterior


@dataclass(frozen=True)
class Fit:
    """Weights of the prediction, and the SD of eps."""

    uplift: float
    beta: float
    gamma: float
    eps: float


MEASURED = Fit(uplift=0.71, beta=0.56, gamma=0.48, eps=0.15)
DELTA = 0.76
TOP1_SD = 0.2  # log odds, of a network without a published top-1 among others
DRAWS = 20_000
VAGUE = 1.5  # P(best) of the first, relative to a guess, below which the prediction is too vague to choose by
Row = Mapping[str, Any]


def predict(rows: Sequence[Row], seed: int) -> tuple[ndarray, ndarray]:
    """P(best) and expected loss against the best (K,), as a fraction, of the answer's rows after fine-tuning."""
    final = draw(rows, seed)
    return posterior.p_best(final), posterior.expected_regret(final)


def draw(rows: Sequence[Row], seed: int, fit: Fit = MEASURED) -> ndarray:
    """(DRAWS, K) of the fine-tuned scores of the answer's rows, as fractions."""
    rng = np.random.default_rng(seed)
    scores, bounds = np.array([row["score"] for row in rows]), np.array([row["interval"] for row in rows])
    probes = rng.normal(scores, (bounds[:, 1] - bounds[:, 0]) / (2 * 1.96), (DRAWS, len(rows)))
    probes = logit(probes.clip(0.001, 0.999))
    final = fit.uplift + probes.mean(1, keepdims=True) + fit.beta * (probes - probes.mean(1, keepdims=True))
    final += fit.gamma * _prior(rows, rng) + rng.normal(0, fit.eps, final.shape)
    final += DELTA * np.array([row.get("transfer") or 0.0 for row in rows])
    return expit(final)


def _prior(rows: Sequence[Row], rng: np.random.Generator) -> ndarray:
    """(DRAWS, K) log odds of ImageNet's top-1 less their mean; of networks without one, draws around the mean."""
    known = np.array([row["imagenet_top1"] is not None and row["weights"] != "none" for row in rows])
    prior = rng.normal(0, TOP1_SD, (DRAWS, len(rows)))
    if known.any():
        top1 = logit([row["imagenet_top1"] for row, is_known in zip(rows, known, strict=True) if is_known])
        prior[:, known] = top1 - top1.mean()
    return prior


def format_prediction(rows: Sequence[Row]) -> str:
    """A line: the probabilities, the most probable first, and their error."""
    order = sorted(rows, key=lambda row: -row["p_best_finetuned"])
    shown = ", ".join(f"{row['backbone']} {row['p_best_finetuned']:.2f}" for row in order[:3])
    if len(order) > 3:
        shown += f", {len(order) - 3} others {sum(row['p_best_finetuned'] for row in order[3:]):.2f}"
    accuracy = np.mean([row["score"] for row in rows])
    final = expit(MEASURED.uplift + logit(np.clip(accuracy, 0.001, 0.999)))
    error = 100 * MEASURED.eps * final * (1 - final)
    first = order[0]
    line = (
        f"After fine-tuning, P(best): {shown}; expected loss of {first['backbone']} against the best "
        f"{100 * first['regret_finetuned']:.1f} points. Predicted from probe and ImageNet top-1, which err by about "
        f"{error:.1f} points per network"
    )
    if first["p_best_finetuned"] < VAGUE / len(rows):
        return line + ": too vague to choose by; fine-tune to compare."
    return line + "."
