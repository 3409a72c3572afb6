"""The gain of twice the images: simulated power laws, and the curve of a probe."""

import numpy as np
import pytest

from common.statistics.learning_curve import gain_of_doubling
from common.transfer import data_curve, linear_probe
from common.transfer.folds import assign_folds


def simulate(seed: int, exponent: float, n: int = 1500) -> tuple[np.ndarray, float]:
    """(4, n) right or wrong, by classifiers that share most difficult images, and the true gain of the next doubling."""
    rng = np.random.default_rng(seed)
    error = 0.05 + 0.4 * (2.0 ** np.arange(5)) ** -exponent
    shared, own = rng.random(n), rng.random((4, n))
    return np.where(rng.random((4, n)) < 0.3, own, shared) >= error[:4, None], error[3] - error[4]


@pytest.mark.parametrize("exponent", [0.25, 0.7])
def test_the_interval_holds_the_gain(exponent: float) -> None:
    inside, errors = [], []
    for seed in range(12):
        scores, truth = simulate(seed, exponent)
        gain = gain_of_doubling(scores)
        low, high = gain.interval
        inside.append(low <= truth <= high)
        errors.append(gain.mean - truth)
    assert np.mean(inside) >= 0.9 and abs(np.mean(errors)) < 0.01


def test_groups_widen_it() -> None:
    scores, _ = simulate(0, 0.5)
    groups = np.arange(scores.shape[1]) // 15
    scores = np.sort(scores, axis=1)  # images of a group are alike
    by_image, by_group = (gain_of_doubling(scores, each).interval for each in (None, groups))
    assert by_group[1] - by_group[0] > 1.2 * (by_image[1] - by_image[0])


def test_no_gain_is_small() -> None:
    scores = np.tile(np.random.default_rng(0).random(800) < 0.9, (4, 1))
    gain = gain_of_doubling(scores)
    assert gain.interval[0] >= 0 and gain.interval[1] < 0.012


@pytest.mark.parametrize("grouped", [False, True])
def test_curve_of_a_probe(grouped: bool) -> None:
    rng, labels = np.random.default_rng(0), np.arange(240) % 4
    x = rng.normal(size=(240, 32)) + rng.normal(size=(4, 32))[labels] * 0.3
    groups = np.arange(240) // 4 if grouped else None
    folds = assign_folds(labels, groups, 0)
    curve = data_curve.correctness(x, labels, folds, groups, balanced=False)
    assert curve.shape == (4, 240) and curve[-1].mean() > curve[0].mean()
    logits = linear_probe.out_of_fold(x, labels, 4, folds, groups)
    assert (curve[-1] == (logits.argmax(1) == labels)).all()
    known = data_curve.correctness(x, labels, folds, groups, False, with_all=curve[-1])
    assert (known == curve).all()
    few = labels[:24]
    assert len(data_curve.correctness(x[:24], few, assign_folds(few, None, 0), None, False)) == 3  # six of a class


def test_sizes_and_misfit() -> None:
    """Doubling sizes are the default; steps of four gain what two doublings do; a law that fits less well is less certain."""
    scores, truth = simulate(3, 0.5, 20_000)
    usual = gain_of_doubling(scores)
    assert gain_of_doubling(scores, sizes=(10, 20, 40, 80)) == usual
    coarse = gain_of_doubling(scores[[0, 2, 3]], sizes=(1, 4, 8))
    assert coarse.mean == pytest.approx(truth, abs=0.01) and coarse.mean == pytest.approx(usual.mean, abs=0.008)
    loose = gain_of_doubling(scores, misfit=0.6).interval
    assert loose[1] - loose[0] > 1.3 * (usual.interval[1] - usual.interval[0])
    with pytest.raises(ValueError, match="three training set sizes or more, found 2"):
        gain_of_doubling(scores[:2])


def test_no_gain_beyond_all_right() -> None:
    scores = np.arange(200) < np.array([[120], [150], [176], [196]])  # 60, 75, 88, 98 %
    gain = gain_of_doubling(scores, misfit=0.4)
    assert 0 < gain.mean < 0.02 and gain.interval[1] <= 0.02 + 1e-9
