"""P(best after fine-tuning), predicted from the probes and ImageNet's top-1.

In log odds, among the candidates of a dataset: fine-tuned = uplift + mean probe + beta (probe - mean) + gamma (top-1 - mean) + delta transfer + eps.
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
from . import ranking
from .text import enumerate_names, points


@dataclass(frozen=True)
class Fit:
    """Weights of the prediction, and the SD of eps."""

    uplift: float
    beta: float
    gamma: float
    eps: float


MEASURED = Fit(uplift=0.70, beta=0.47, gamma=0.52, eps=0.14)
DELTA = 0.76
TOP1_SD = 0.2  # log odds, of a network without a published top-1 among others
RANDOM_LOSS, RANDOM_LOSS_SD = 2.2, 1.0  # log odds, by which random weights end below what is predicted otherwise
VAGUE = 1.5  # P(best) of the first, relative to a guess, below which the prediction is too vague to choose by
Row = Mapping[str, Any]


def summarize(final: ndarray) -> dict[str, ndarray]:
    """From (R, K) fine-tuned scores the answer's fields, (K,) each: P(best), expected loss against the best, and SD among the candidates."""
    k = final.shape[1]
    among = final - final.mean(1, keepdims=True)
    return {
        "p_best_finetuned": posterior.p_best(final),
        "regret_finetuned": posterior.expected_regret(final),
        "error_finetuned": among.std(0) * (k / max(1, k - 1)) ** 0.5,
    }


def from_predictions(
    rows: Sequence[Row], predicted: ndarray, labels: ndarray, metric: str, seed: int, groups: ndarray | None = None
) -> ndarray:
    """(R, K) draws of the fine-tuned scores of the answer's rows, from what their probes predict; see `ranking.rank`."""
    probes = ranking.true_scores(predicted, labels, metric, seed, groups)
    return draw(rows, probes, ranking.effective_units(labels, metric, groups), seed)


def draw(rows: Sequence[Row], probes: ndarray, n: float, seed: int, fit: Fit = MEASURED) -> ndarray:
    """(R, K) of the fine-tuned scores of the answer's rows, as fractions.

    `probes`: (R, K) draws of the true scores of probes on `n` images. Their log odds are those of (n p + 1/2) / (n + 1)
    (Anscombe 1956), which are finite at 0 and 1.
    """
    rng = np.random.default_rng(seed)
    probes = logit((n * probes.clip(0, 1) + 0.5) / (n + 1))
    final = fit.uplift + probes.mean(1, keepdims=True) + fit.beta * (probes - probes.mean(1, keepdims=True))
    final += fit.gamma * _prior(rows, len(probes), rng) + rng.normal(0, fit.eps, final.shape)
    random = np.array([row["weights"] == "none" for row in rows])
    final[:, random] -= rng.normal(RANDOM_LOSS, RANDOM_LOSS_SD, (len(final), random.sum()))
    final += DELTA * np.array([row.get("transfer") or 0.0 for row in rows])
    return expit(final)


def _prior(rows: Sequence[Row], n: int, rng: np.random.Generator) -> ndarray:
    """(n, K) log odds of ImageNet's top-1 less their mean; of networks without one, draws around the mean."""
    known = np.array([row["imagenet_top1"] is not None and row["weights"] != "none" for row in rows])
    prior = rng.normal(0, TOP1_SD, (n, len(rows)))
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
    error = points(np.mean([row["error_finetuned"] for row in rows]))
    safest = min(rows, key=lambda row: row["regret_finetuned"])
    line = (
        f"After fine-tuning, P(best): {shown}; expected loss of {safest['backbone']} against the best "
        f"{points(safest['regret_finetuned'])}. Predicted from {_sources(rows)}, with an error of about {error} per backbone"
    )
    if order[0]["p_best_finetuned"] < VAGUE / len(rows):
        return line + ": too vague to choose by; fine-tune to compare."
    return line + "."


def _sources(rows: Sequence[Row]) -> str:
    """What the prediction is made from."""
    pretrained = [row for row in rows if row["weights"] != "none"]
    known = [row for row in pretrained if row["imagenet_top1"] is not None]
    sources = ["probe"]
    if known:
        sources.append("ImageNet top-1" if len(known) == len(pretrained) else "ImageNet top-1 where it is known")
    if any(row.get("transfer") for row in rows):
        sources.append("published results")
    listed = enumerate_names(sources) if len(sources) > 1 else "the probe alone"
    return listed if len(pretrained) == len(rows) else f"{listed}, random weights being assumed to be worse"
