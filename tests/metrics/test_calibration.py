"""Temperatures and reliability diagrams, against torch's optimiser and our calibration error."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import softmax

from common.metrics import calibration, classification


def drawn(true_temperature: float, n: int = 3000, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from what they say at the true temperature."""
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(n, classes))
    chances = softmax(logits / true_temperature, axis=1).cumsum(1)
    return logits, (rng.random((n, 1)) > chances[:, :-1]).sum(1)


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_against_torch(true: float) -> None:
    logits, labels = drawn(true)
    found, doubt = calibration.fit_temperature(logits, labels), 0.5 / (len(labels) + 1)
    log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_t], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        nll = torch.nn.functional.cross_entropy(
            torch.tensor(logits) / log_t.exp(), torch.tensor(labels), label_smoothing=doubt * 7 / 6
        )
        nll.backward()
        return nll

    optimizer.step(loss)
    assert found == pytest.approx(log_t.exp().item(), rel=1e-4)
    assert found == pytest.approx(true, rel=0.1)


def test_temperature_improves_calibration_and_keeps_top1() -> None:
    logits, labels = drawn(3.0)
    before = classification.score(logits, labels)
    after = classification.score(logits / calibration.fit_temperature(logits, labels), labels)
    assert after["ece"] < 0.05 < 0.2 < before["ece"] and after["nll"] < before["nll"]
    assert after["top1"] == before["top1"]


def test_a_few_correct_images_are_not_certain() -> None:
    """Half a wrong one in n + 1: what the probability of the right class averages to where all logits are alike."""
    for n in (12, 150):
        logits = np.tile([3.0, 0.0, 0.0], (n, 1))
        confident = softmax(logits / calibration.fit_temperature(logits, np.zeros(n, int)), axis=1)[0, 0]
        assert confident == pytest.approx(1 - 0.5 / (n + 1), abs=1e-4)


def test_temperature_at_its_ends() -> None:
    logits, labels = drawn(1.0)
    assert calibration.fit_temperature(logits, logits.argmin(1)) == pytest.approx(100, rel=1e-3)
    assert 0.01 <= calibration.fit_temperature(np.zeros((5, 3)), np.zeros(5, int)) <= 100
    huge = logits.astype(np.float32) * 1e4
    assert np.isfinite(calibration.fit_temperature(huge, labels))


@pytest.mark.parametrize("bins", [classification.ECE_BINS, 4])
def test_reliability(bins: int) -> None:
    logits, labels = drawn(2.0, n=500)
    mean_confidence, accuracy, images = calibration.reliability(logits, labels, bins)
    probabilities = softmax(logits, axis=1)
    confidence, hit = probabilities.max(1), probabilities.argmax(1) == labels
    for b in range(bins):
        inside = (confidence >= b / bins) & ((confidence < (b + 1) / bins) | (b == bins - 1))
        assert images[b] == inside.sum()
        if images[b]:
            assert (mean_confidence[b], accuracy[b]) == pytest.approx((confidence[inside].mean(), hit[inside].mean()))
        else:
            assert np.isnan(mean_confidence[b]) and np.isnan(accuracy[b])
    if bins == classification.ECE_BINS:
        full = images > 0
        ece = (images * np.abs(accuracy - mean_confidence))[full].sum() / 500
        assert ece == pytest.approx(classification.score(logits, labels)["ece"])


def test_empty_bins_make_no_warning() -> None:
    """Not even the highest ones, which shorten no array."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mean_confidence, accuracy, images = calibration.reliability(np.zeros((4, 2)), np.array([0, 0, 1, 0]))
    assert images.tolist() == [4 * (b == 7) for b in range(classification.ECE_BINS)]  # 0.5 is in the eighth of 15
    assert (mean_confidence[7], accuracy[7]) == (0.5, 0.75) and np.isnan(np.delete(accuracy, 7)).all()
