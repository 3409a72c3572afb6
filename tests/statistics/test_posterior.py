"""The posterior of true scores: against a second way to compute it, calibrated in simulation, honest at the edges."""

import numpy as np
import pytest
from scipy import stats

from benchmarks.p_best_calibration import simulate
from common.statistics import paired
from common.statistics.posterior import SPREAD, expected_regret, p_best, p_equivalent, posterior

SETTING = {"candidates": 3, "images": 4_000, "seeds": 1, "seed_sd": 0.5, "spread": 0.5, "tails": "normal"}


def scores(*accuracies: float, seeds: int = 1, images: int = 1_000, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.random((len(accuracies), seeds, images)) < np.array(accuracies)[:, None, None]).astype(float)


def test_against_importance_sampling() -> None:
    """The model by brute force: parameters from their priors, weighted by the likelihood of the observed means."""
    y = scores(0.86, 0.84, 0.81)
    rng, n = np.random.default_rng(1), 2_000_000
    sigma = np.exp(rng.normal(np.log(0.5), 0.6, n))
    tau = np.abs(rng.normal(0, SPREAD, n))
    mu = rng.normal(84, 5, n)[:, None] + tau[:, None] * rng.normal(size=(n, 3))
    means = 100 * y[:, 0].mean(1)
    covariance = np.cov(100 * y[:, 0]) / y.shape[2]
    runs = mu + sigma[:, None] * rng.normal(size=(n, 3))
    weights = stats.multivariate_normal(means, covariance).pdf(runs)
    weights /= weights.sum()
    draws = posterior(y)
    assert 100 * draws.mean(0) == pytest.approx(weights @ mu, abs=0.1)
    assert 100 * draws.std(0) == pytest.approx(np.sqrt(weights @ mu**2 - (weights @ mu) ** 2), abs=0.1)
    best = np.bincount(mu.argmax(1), weights, minlength=3)
    assert p_best(draws) == pytest.approx(best, abs=0.02)


def test_p_best_is_calibrated_and_the_bootstrap_is_not() -> None:
    """Where 70 % and more is stated, 250 simulated comparisons are right as often; images alone claim too much."""
    rng = np.random.default_rng(0)
    stated: dict[str, list[float]] = {"posterior": [], "bootstrap": []}
    right: list[bool] = []
    for repetition in range(250):
        truth, y = simulate(SETTING, rng)
        stated["posterior"] += p_best(posterior(y, repetition)).tolist()
        stated["bootstrap"] += p_best(paired.resample_means(y.mean(1), repetition, 500)).tolist()
        right += (truth == truth.max()).tolist()
    excess = {}
    for name, values in stated.items():
        bold = np.array(values) >= 0.7
        excess[name] = np.mean(np.array(values)[bold]) - np.mean(np.array(right)[bold])
    assert excess["posterior"] < 0.1
    assert excess["bootstrap"] > 0.15


def test_intervals_cover_with_groups() -> None:
    """Groups of ten alike images: by groups the 95 % interval covers, by images it is far too narrow."""
    covered = {"groups": 0, "images": 0}
    repetitions, groups = 150, np.repeat(np.arange(60), 10)
    for repetition in range(repetitions):
        rng = np.random.default_rng(repetition)
        p = rng.beta(2, 1, (1, 60))
        y = (rng.random((1, 1, 600)) < p.repeat(10, 1)[:, None]).astype(float)
        for name, given in (("groups", groups), ("images", None)):
            low, high = np.quantile(posterior(y, groups=given), (0.025, 0.975))
            covered[name] += low <= 2 / 3 <= high
    assert covered["groups"] / repetitions >= 0.92
    assert covered["images"] / repetitions < 0.8


def test_the_leader_is_shrunk_and_more_seeds_shrink_it_less() -> None:
    one, three = (posterior(scores(0.90, 0.85, 0.85, 0.85, seeds=s)) for s in (1, 3))
    for draws, s in ((one, 1), (three, 3)):
        means = scores(0.90, 0.85, 0.85, 0.85, seeds=s).mean((1, 2))
        assert draws.mean(0)[0] < means[0] and draws.std(0)[0] < 0.02
    assert three.std(0)[0] < one.std(0)[0]


def test_seeds_that_differ_widen() -> None:
    rng = np.random.default_rng(0)
    alike = np.stack([scores(0.85, 0.85, images=4_000, seed=s) for s in range(3)], 1)[:, :, 0]
    spread = np.array([[0.82, 0.85, 0.88]] * 2)
    apart = (rng.random((2, 3, 4_000)) < spread[:, :, None]).astype(float)
    assert posterior(apart).std(0).min() > 1.5 * posterior(alike).std(0).max()


def test_a_missing_seed_is_not_a_score() -> None:
    y = scores(0.9, 0.8, seeds=3)
    y[1, 1:] = np.nan
    draws = posterior(y)
    assert np.isfinite(draws).all() and draws.std(0)[1] > draws.std(0)[0]


def test_other_scores_have_another_scale() -> None:
    """Minus the loss: another unit changes the draws by just that unit."""
    losses = -np.random.default_rng(0).gamma(2, 0.3, (3, 2, 500))
    assert posterior(1_000 * losses) == pytest.approx(1_000 * posterior(losses))


@pytest.mark.parametrize("score", [0.1, 0.3, 0.7, -2.3, 1e6])
def test_constant_scores_are_not_certainty(score: float) -> None:
    """Their SD may be a rounding error instead of 0."""
    assert p_best(posterior(np.full((3, 2, 401), score))) == pytest.approx(1 / 3, abs=0.02)


def test_all_correct_is_not_certainty() -> None:
    draws = posterior(np.ones((3, 2, 60)))
    assert np.isfinite(draws).all() and draws.std(0).min() > 0.005
    assert p_best(draws) == pytest.approx(1 / 3, abs=0.02) and (expected_regret(draws) > 0.002).all()


def test_summaries() -> None:
    draws = np.array([[0.9, 0.8], [0.7, 0.703], [0.9, 0.8], [0.9, 0.8]])
    assert p_best(draws).tolist() == [0.75, 0.25]
    assert p_equivalent(draws, 0.005).tolist() == [1.0, 0.25]
    assert expected_regret(draws) == pytest.approx([0.00075, 0.075])


def test_one_candidate_has_an_interval() -> None:
    draws = posterior(scores(0.85))
    assert draws.shape[1] == 1 and p_best(draws).tolist() == [1.0]
    assert draws.std() == pytest.approx(np.hypot((0.85 * 0.15 / 1_000) ** 0.5, 0.006), rel=0.15)


@pytest.mark.parametrize(
    ("y", "groups", "message"),
    [
        (np.array([[[1, 0, 1.0]], [[np.nan] * 3]]), None, "candidate 1 has no seed"),
        (
            np.array([[[1, 0, 1.0], [1, np.nan, 1.0]]]),
            None,
            "1 scores are not finite, the first of candidate 0, seed 1",
        ),
        (np.ones((2, 4)), None, r"expected scores of shape \(K, S, N\), found \(2, 4\)"),
        (np.ones((0, 1, 4)), None, "expected scores of shape"),
        (np.ones((2, 1, 4)), np.zeros(3), "a group for each of 4 images"),
        (np.ones((2, 1, 1)), None, "at least two"),
        (np.ones((2, 1, 4)), np.zeros(4), "at least two"),
    ],
)
def test_invalid_scores(y: np.ndarray, groups: np.ndarray | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        posterior(y, groups=groups)
