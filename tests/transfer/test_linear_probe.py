"""What frozen features know of the classes, each figure held against another implementation."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import LogisticRegression, RidgeClassifier, RidgeClassifierCV
from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from common.transfer import knn, linear_probe, transferability
from common.transfer.folds import assign_folds
from common.transfer.ridge import class_weights, decompose, leave_out_residuals


def made(n: int, d: int, classes: int = 4, signal: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.sort(rng.integers(0, classes, n))
    features = rng.normal(size=(n, d)) + signal * rng.normal(size=(classes, d))[labels]
    return (features * rng.uniform(0.1, 10, d) + 3).astype(np.float32), labels


@pytest.mark.parametrize(("n", "d"), [(90, 30), (60, 200)])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_probe_is_scikit_learns_ridge(n: int, d: int, balanced: bool) -> None:
    """The same penalty is chosen by leaving one out, and the same logits come out of it."""
    x, y = made(n, d)
    z = x - x.mean(0, dtype=float)
    weight = "balanced" if balanced else None
    total = np.square(z - np.average(z, axis=0, weights=class_weights(y, 4)) if balanced else z)
    scale = (total * (class_weights(y, 4)[:, None] if balanced else 1)).sum()
    theirs = RidgeClassifierCV(alphas=linear_probe.PENALTIES * scale, class_weight=weight).fit(z, y)
    ours = linear_probe.fit(x, y, 4, balanced=balanced)
    assert ours.penalty == pytest.approx(theirs.alpha_)
    fresh, _ = made(50, d, seed=1)
    expected = theirs.decision_function(fresh - x.mean(0, dtype=float))
    assert np.allclose(2 * ours.logits(fresh) - 1, expected, atol=1e-5)  # its targets are -1 and 1


def test_a_whole_group_is_left_out() -> None:
    """The closed form equals as many fits as there are groups."""
    x, y = made(60, 20)
    x, groups = x.astype(float), np.arange(60) % 7
    z = x - x.mean(0)
    target = np.eye(4)[y]
    errors = []
    for penalty in linear_probe.PENALTIES * np.square(z).sum():
        error = 0.0
        for rest, out in LeaveOneGroupOut().split(z, y, groups):
            mean, level = z[rest].mean(0), target[rest].mean(0)
            a = z[rest] - mean
            w = np.linalg.solve(a.T @ a + penalty * np.eye(20), a.T @ (target[rest] - level))
            error += np.square(target[out] - (z[out] - mean) @ w - level).sum()
        errors.append(error)
    chosen = linear_probe.PENALTIES[int(np.argmin(errors))] * np.square(z).sum()
    assert linear_probe.fit(x, y, 4, groups).penalty == pytest.approx(chosen)


@pytest.mark.parametrize(("d", "size"), [(60, 5), (12, 30)])
def test_residuals_without_a_group_are_those_of_a_refit(d: int, size: int) -> None:
    """Groups smaller and larger than the number of features, beside groups of one."""
    x, y = made(90, d)
    ridge = decompose(x, y, 4)
    penalty = 0.01 * np.square(ridge.x).sum()
    groups = np.where(np.arange(90) < 70, np.arange(90) // size, np.arange(90))
    found = leave_out_residuals(ridge, groups, penalty)
    for group in (0, 75):
        rest, left = groups != group, groups == group
        x, y = ridge.x[rest], ridge.y[rest]
        centred = x - x.mean(0)
        weights = np.linalg.solve(centred.T @ centred + penalty * np.eye(d), centred.T @ (y - y.mean(0)))
        predicted = (ridge.x[left] - x.mean(0)) @ weights + y.mean(0)
        assert np.allclose(found[left], ridge.y[left] - predicted)


def test_folds_and_out_of_fold() -> None:
    x, y = made(200, 30, signal=0.4)
    fold = assign_folds(y, None, 0)
    assert np.bincount(fold).tolist() == [40] * 5
    assert all(abs(np.bincount(y[fold == f], minlength=4) - np.bincount(y) / 5).max() < 1 for f in range(5))
    logits = linear_probe.out_of_fold(x, y, 4, fold)
    ours = (logits.argmax(1) == y).mean()
    z = x - x.mean(0)
    others = [
        (cross_val_predict(model, z, y, cv=5) == y).mean()
        for model in (RidgeClassifier(100), LogisticRegression(C=0.01))
    ]
    assert abs(ours - np.mean(others)) < 0.06
    for f in range(5):  # an image's own label changes nothing of its prediction
        changed = y.copy()
        changed[np.flatnonzero(fold == f)[0]] = (changed[np.flatnonzero(fold == f)[0]] + 1) % 4
        again = linear_probe.out_of_fold(x, changed, 4, fold)
        assert np.allclose(again[fold == f], logits[fold == f])


def test_no_group_in_two_folds() -> None:
    _, y = made(200, 3)
    groups = np.arange(200) // 4
    fold = assign_folds(y, groups, 0)
    assert all(len(set(fold[groups == g])) == 1 for g in range(50)) and len(set(fold)) == 5
    few = assign_folds(np.array([0, 0, 0, 1, 1, 1, 1]), None, 0)
    assert len(set(few)) == 3  # as many as the smallest class has images


def test_a_class_of_one_image_raises_no_warning() -> None:
    labels = np.array([0, 0, 0, 0, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for groups in (None, np.arange(5)):
            assert set(assign_folds(labels, groups, 0)) == {0, 1}


def test_labels_without_meaning_are_chance() -> None:
    """Nested: a penalty chosen on the evaluated fold would show here."""
    rng = np.random.default_rng(0)
    shares = []
    for seed in range(40):
        y = np.arange(100) % 2
        logits = linear_probe.out_of_fold(rng.normal(size=(100, 300)), y, 2, assign_folds(y, None, seed))
        shares.append((logits.argmax(1) == y).mean())
    assert abs(np.mean(shares) - 0.5) < 0.03


def test_neighbours() -> None:
    x, y = made(120, 10, signal=1.0)
    fold = assign_folds(y, None, 0)
    votes = knn.out_of_fold(x, y, 4, fold, k=7)
    for f in range(3):
        rest = fold != f
        theirs = KNeighborsClassifier(
            7, metric="cosine", algorithm="brute", weights=lambda distance: np.exp(-distance / 0.07)
        ).fit(x[rest], y[rest])
        expected = theirs.predict_proba(x[~rest])
        ours = votes[~rest] / votes[~rest].sum(1, keepdims=True)
        assert np.allclose(ours, expected, atol=1e-4)
    assert knn.out_of_fold(x[:6], y[:6] * 0, 1, np.arange(6) % 2).shape == (6, 1)  # fewer than k


@pytest.mark.parametrize(("n", "d"), [(40, 8), (15, 25)])
def test_logme_is_the_maximum_evidence(n: int, d: int) -> None:
    """Searched for by a general optimizer, with the density of a normal distribution of n dimensions."""
    x, y = made(n, d, classes=2, signal=0.3)
    x = (x - 3) / x.std(0)

    def worst(logs: np.ndarray, target: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        return -multivariate_normal(np.zeros(n), np.eye(n) / beta + x @ x.T / alpha).logpdf(target)

    best = [
        -min(minimize(worst, start, (t,), "Nelder-Mead").fun for start in ((0, 0), (3, 1), (5, 3))) / n
        for t in np.eye(2)[y].T
    ]
    assert transferability.logme(x, y, 2) == pytest.approx(np.mean(best), abs=2e-4)


def test_h_score() -> None:
    x, y = made(5000, 3, classes=3)
    x = (x - x.mean(0)) / x.std(0) * (1, 2, 4)
    means = np.stack([x[y == c].mean(0) for c in y])
    plain = np.trace(np.linalg.solve(np.cov(x.T), np.cov(means.T)))
    assert transferability.h_score(x, y, 3) == pytest.approx(plain, rel=0.01)  # much data: hardly shrunk
    x, y = made(30, 100, classes=3)
    fit = LedoitWolf().fit(x)
    means = np.stack([x[y == c].mean(0) for c in y])
    expected = (1 - fit.shrinkage_) * np.trace(np.linalg.solve(fit.covariance_, np.cov(means.T, bias=True)))
    assert transferability.h_score(x, y, 3) == pytest.approx(expected, rel=1e-3)
    assert transferability.h_score(100 * x, y, 3) == pytest.approx(expected, rel=1e-3)


def test_better_features_score_higher() -> None:
    weak, strong = (made(200, 50, signal=s) for s in (0.1, 1.0))
    for score in (transferability.logme, transferability.h_score):
        assert score(*strong, 4) > score(*weak, 4)
