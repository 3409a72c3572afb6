"""Temperature and reliability, against torch's own optimizer and the calibration error."""

import numpy as np
import pytest
import torch

from common.measure import metrics
from common.measure.calibration import RANGE, reliability, temperature


@pytest.fixture
def split() -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the softmax of logits, which are then three times too sure."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 5))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)  # the Gumbel-max trick
    return 3 * logits, labels


def test_the_temperature_that_was_put_in(split) -> None:
    assert temperature(*split) == pytest.approx(3, rel=0.02)


def test_against_torchs_optimizer(split) -> None:
    logits, labels = (torch.from_numpy(each[:500]) for each in split)
    log_t = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(logits / log_t.exp(), labels)
        value.backward()
        return value

    optimizer.step(loss)
    assert temperature(*(each[:500] for each in split)) == pytest.approx(
        float(log_t.detach().exp()), rel=1e-3
    )


def test_no_image_is_wrong() -> None:
    assert temperature(np.eye(3), np.arange(3)) == pytest.approx(RANGE[0], rel=0.05)


def test_dividing_by_it_calibrates_and_moves_no_prediction(split) -> None:
    logits, labels = split
    before, after = metrics.score(logits, labels), metrics.score(logits / temperature(logits, labels), labels)
    assert (
        after["ece"] < 0.1 * before["ece"]
        and after["nll"] < before["nll"]
        and after["top1"] == before["top1"]
    )


def test_reliability_adds_up_to_the_calibration_error(split) -> None:
    logits, labels = split
    bins = reliability(logits, labels)
    assert sum(each.count for each in bins) == len(labels)
    ece = sum(each.count * abs(each.accuracy - each.confidence) for each in bins) / len(labels)
    assert ece == pytest.approx(metrics.score(logits, labels)["ece"])
