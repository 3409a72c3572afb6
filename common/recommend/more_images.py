"""The gain of more images: the learning curve of the best probe, extrapolated to twice the images."""

from typing import Any

import numpy as np

from ..metrics.classification import image_scores
from ..statistics import learning_curve
from ..transfer import data_curve
from .dataset import Round
from .probe import ProbeResult
from .text import enumerate_names

MIN_STEPS = 3  # training set sizes of a curve


def estimate(name: str, result: ProbeResult, round_: Round, metric: str) -> dict[str, Any] | None:
    """The scores of the backbone's probe for growing fractions of the images, and the gain of twice as many.

    None if the images are too few for three training set sizes.
    """
    labels, balanced = round_.labels, metric == "balanced_accuracy"
    with_all = np.equal(result.predicted, labels)
    correctness = data_curve.correctness(result.features, labels, round_.folds, round_.groups, balanced, with_all)
    if len(correctness) < MIN_STEPS:
        return None
    scores = image_scores(correctness, labels, metric)
    gain = learning_curve.gain_of_doubling(scores, round_.groups)
    return {
        "backbone": name,
        "fractions": data_curve.FRACTIONS[-len(scores) :],
        "scores": scores.mean(1).tolist(),
        "gain": gain.mean,
        "interval": gain.interval,
    }


def format_gain(curve: dict[str, Any]) -> str:
    """One line."""
    low, high = (100 * bound for bound in curve["interval"])
    parts = ", ".join(f"1/{1 / fraction:.0f}" for fraction in curve["fractions"] if fraction < 1)
    scores = enumerate_names([f"{100 * score:.1f}" for score in curve["scores"]])
    return (
        f"Would more images help? Twice as many: {100 * curve['gain']:+.1f} points [{low:.1f}, {high:.1f}] for the probe of "
        f"{curve['backbone']} (with {parts} and all of these images: {scores} %)."
    )
