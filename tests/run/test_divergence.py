"""A diverged network is distinguished from a poor one."""

import numpy as np
import pytest

from common.run.divergence import format_divergence

LABELS = np.arange(60) % 3


def logits(scale: float, right: float) -> np.ndarray:
    """Of 60 images, a fraction `right` of which is predicted correctly."""
    predicted = np.where(np.arange(60) < 60 * right, LABELS, (LABELS + 1) % 3)
    return scale * np.eye(3)[predicted]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (logits(1e4, 0.3), "training has diverged: the NLL on test is 7,000, that of uniform predictions 1.10"),
        (np.tile([0.0, 1e4, 0.0], (60, 1)), "training has diverged"),
        (np.tile([0.0, 0.1, 0.0], (60, 1)), "the network predicts one class for all test images"),
        (np.full((60, 3), np.nan), "training has diverged: the NLL on test is nan"),
    ],
)
def test_useless(values: np.ndarray, says: str) -> None:
    assert format_divergence(values, LABELS).startswith(says)


@pytest.mark.parametrize("values", [logits(3, 0.9), logits(3, 0.2), logits(8, 0.6)])
def test_poor_or_good(values: np.ndarray) -> None:
    assert format_divergence(values, LABELS) is None
