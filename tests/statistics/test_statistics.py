"""Intervals, paired comparisons and rankings: against other implementations, worked examples and simulations."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import scikit_posthocs
from baycomp import SignedRankTest
from scipy import stats as scipy_stats
from scipy.special import ndtri
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from common.metrics import classification
from common.statistics import intervals, paired, ranks

# AUC of C4.5 and three variants on 14 datasets: Demsar 2006, table 6; he ranks 0.9751 above what rounds to the same
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967], [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931], [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875], [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


def right(accuracies: list[float], n: int, seed: int = 0) -> np.ndarray:
    """(K, n) bool: candidates of given accuracies, which find the same images hard."""
    rng = np.random.default_rng(seed)
    ease = (rng.random(n) + rng.random((len(accuracies), n))) / 2
    return ease < np.quantile(ease, accuracies, axis=1).diagonal()[:, None]


# intervals


def counted(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Callable[[np.ndarray], dict[str, float]]:
    cells = truth * classes + predicted

    def scores(weights: np.ndarray) -> dict[str, float]:
        counts = np.bincount(cells, weights, classes**2).reshape(classes, classes)
        hit, both = counts.diagonal(), counts.sum(1) + counts.sum(0)
        return {"top1": hit.sum() / weights.sum(), "macro_f1": (2 * hit[both > 0] / both[both > 0]).mean()}

    return scores


@pytest.mark.parametrize("n, repetitions", [(400, 1000), (5000, 500)])
@pytest.mark.parametrize(
    "share, accuracy", [([0.5, 0.2, 0.15, 0.1, 0.05], [0.95, 0.9, 0.85, 0.9, 0.8]), ([0.2] * 5, [0.99] * 5)]
)
def test_bootstrap_intervals_cover(n: int, repetitions: int, share: list[float], accuracy: list[float]) -> None:
    """95 % intervals hold the truth in 93 to 97 % of samples; the Monte Carlo error (1 sd) is 0.7 and 1.0 points.

    Variances need no more than a hundred resamples.
    """
    classes, rng = len(share), np.random.default_rng(0)
    joint = np.outer((1 - np.array(accuracy)) / (classes - 1), np.ones(classes))
    np.fill_diagonal(joint, accuracy)
    joint *= np.array(share)[:, None]
    truth = {"top1": joint.trace(), "macro_f1": (2 * joint.diagonal() / (joint.sum(0) + joint.sum(1))).mean()}
    held = dict.fromkeys(truth, 0)
    for repetition in range(repetitions):
        cells = rng.choice(classes**2, n, p=joint.ravel())
        scores = counted(*np.divmod(cells, classes), classes)
        for name, (low, high) in intervals.bootstrap(scores, n, repetition, resamples=100).items():
            held[name] += low <= truth[name] <= high
    assert all(0.93 <= count / repetitions <= 0.97 for count in held.values()), held


@pytest.mark.parametrize("n, accuracy, gap", [(400, 0.9, 0.02), (400, 0.95, 0.01), (5000, 0.95, 0.0)])
def test_paired_intervals_cover(n: int, accuracy: float, gap: float) -> None:
    """As above, over 1000 samples (Monte Carlo error 0.7 points); and p is below 0.05 where zero is outside."""
    rng, held, discordant = np.random.default_rng(0), 0, accuracy * (1 - accuracy)
    for repetition in range(1000):
        a, b = np.eye(3)[:2][:, rng.choice(3, n, p=[(discordant + gap) / 2, (discordant - gap) / 2, 1 - discordant])]
        found = paired.paired_bootstrap(a, b, seed=repetition, resamples=1000)
        held += found.low - 1e-12 <= gap <= found.high + 1e-12
        assert found.p <= 0.06 if found.low * found.high > 0 else found.p >= 0.04
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize("wrong", [0, 1, 20])
def test_top1_has_wilsons_interval(wrong: int) -> None:
    hit = np.arange(400) >= wrong
    found = intervals.bootstrap(lambda w: {"top1": w @ hit / w.sum()}, 400, seed=0, resamples=4000)["top1"]
    assert found == pytest.approx(proportion_confint(400 - wrong, 400, method="wilson"), abs=6e-4)


def test_other_scores_have_percentiles() -> None:
    values = np.random.default_rng(0).exponential(size=300)
    found = intervals.bootstrap(lambda w: {"nll": w @ values / w.sum()}, 300, seed=0, resamples=4000)["nll"]
    theirs = scipy_stats.bootstrap((values,), np.mean, method="percentile", random_state=0).confidence_interval
    assert found == pytest.approx(tuple(theirs), abs=0.01)


def test_an_interval_contains_its_score_and_stays_in_0_to_1() -> None:
    rng = np.random.default_rng(0)
    for scale in (0, 3, 30):
        labels = rng.integers(6, size=120)
        logits = rng.normal(size=(120, 6)) + scale * np.eye(6)[labels]
        scorer = classification.scorer(logits, labels)
        scores, found = scorer(np.ones(120)), intervals.bootstrap(scorer, 120, 0, resamples=200)
        for name in intervals.FRACTIONS:
            low, high = found[name]
            assert 0 <= low <= scores[name] <= high <= 1 and low < high, name


# paired comparisons


def test_paired_bootstrap_against_scipy() -> None:
    a, b = np.random.default_rng(0).normal([[0.1], [0]], 1, size=(2, 500))
    ours = paired.paired_bootstrap(a, b)
    theirs = scipy_stats.bootstrap((a - b,), np.mean, method="percentile", n_resamples=10_000, random_state=1)
    assert ours.difference == pytest.approx((a - b).mean())
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.005)
    assert ours.p == pytest.approx(scipy_stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_paired_bootstrap_is_symmetric_and_averages_seeds() -> None:
    a, b = right([0.9, 0.9, 0.9, 0.8, 0.85, 0.85], 700).reshape(2, 3, 700)
    one, other = paired.paired_bootstrap(a, b), paired.paired_bootstrap(b, a)
    assert (one.difference, one.p) == pytest.approx((-other.difference, other.p), abs=0.01)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.003)
    assert one == paired.paired_bootstrap(a.mean(0), b.mean(0))
    same = paired.paired_bootstrap(a, a)
    assert (same.difference, same.p) == (0, 1) and (same.low, same.high) == pytest.approx(
        (-1.96 / 702, 1.96 / 702), 1e-4
    )
    with pytest.raises(ValueError, match="700 images against 699"):
        paired.paired_bootstrap(a, b[:, 1:])


def test_the_multinomial_shortcut_equals_the_bootstrap() -> None:
    """Means drawn by kind and scores drawn image by image have one distribution."""
    scores = right([0.9, 0.92, 0.85], 300)
    by_kind = paired.resample_means(scores, seed=1, resamples=4000)
    scorers = [lambda w, row=row: w @ row / w.sum() for row in scores.astype(float)]
    by_image = paired.resample_scores(scorers, 300, seed=2, resamples=4000)
    assert by_kind.shape == by_image.shape == (4000, 3)
    for k in range(3):
        assert scipy_stats.ks_2samp(by_kind[:, k], by_image[:, k]).pvalue > 0.01
    assert np.cov(by_kind.T) == pytest.approx(np.cov(by_image.T), rel=0.15)


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).normal(size=(2, 50))
    at_once = paired.resample_means(scores, seed=3, resamples=101)
    monkeypatch.setattr(paired, "BLOCK", 350)
    assert paired.resample_means(scores, seed=3, resamples=101) == pytest.approx(at_once, abs=1e-12)


def test_a_table_of_draws_serves_any_metric() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 300, p=[0.8, 0.15, 0.05])
    logits = [rng.normal(size=(300, 3)) + skill * np.eye(3)[labels] for skill in (3, 1)]
    prepared = [classification.scorer(one, labels) for one in logits]
    scorers = [lambda weights, f=f: f(weights)["macro_f1"] for f in prepared]
    draws = paired.resample_scores(scorers, 300, resamples=300)
    assert (draws[:, 0] > draws[:, 1]).all()


@pytest.mark.parametrize("accuracies", [[0.9, 0.9], [0.9, 0.8], [0.99, 0.95]])
def test_mcnemar_against_statsmodels(accuracies: list[float]) -> None:
    a, b = right(accuracies, 250)
    table = np.array([[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]])
    assert paired.mcnemar(a, b) == pytest.approx(reference_mcnemar(table, exact=True).pvalue)
    assert paired.mcnemar(a, b) == paired.mcnemar(b, a) and paired.mcnemar(a, a) == 1


def test_the_leader_of_many_equal_candidates_is_seldom_significant() -> None:
    """It was chosen by its score: p of its differences alone is too small, even corrected for their number."""
    rng, wrong, repetitions = np.random.default_rng(0), {"all pairs": 0, "leader": 0}, 100
    for seed in range(repetitions):
        scores = (rng.normal(size=60) + 0.65 * rng.normal(size=(12, 60)) < 1.2).astype(float)
        draws, means = paired.resample_means(scores, seed, 1_000), scores.mean(1)
        leader = int(means.argmax())
        found = paired.differences_to(leader, means, draws, 60)
        assert found[leader] == paired.Difference(0, 0, 0, 1)
        others = [k for k in range(12) if k != leader]
        single = [paired.difference(means[k] - means[leader], draws[:, k] - draws[:, leader], 60).p for k in others]
        wrong["all pairs"] += any(one.is_significant for one in found)
        assert all(one.is_significant == (one.p <= 0.05) for one in found)
        wrong["leader"] += (paired.holm(single) <= 0.05).any()
    assert wrong["all pairs"] <= 10 < wrong["leader"]
    means[leader] += 0.9
    draws[:, leader] += 0.9
    found = paired.differences_to(leader, means, draws, 60)
    assert sorted(one.p for one in found) == [1 / 1_001] * 11 + [1] and max(one.high for one in found if one.p < 1) < 0


def test_the_intervals_of_all_differences_hold_together() -> None:
    """Of six candidates with true differences, to the leader of the sample; of few groups, where they must not be wide either."""
    rng, held, widths = np.random.default_rng(1), [], []
    truth = np.array([0.8, 0.81, 0.82, 0.84, 0.86, 0.87])
    for seed in range(150):
        shared = rng.normal(size=300)
        latent = 0.7 * shared + 0.51**0.5 * rng.normal(size=(6, 300))
        scores = (latent < ndtri(truth)[:, None] * 1.0).astype(float)
        means, draws = scores.mean(1), paired.resample_means(scores, seed, 500)
        leader = int(means.argmax())
        found = paired.differences_to(leader, means, draws, 300)
        held.append(all(one.low <= t <= one.high for one, t in zip(found, truth - truth[leader], strict=True)))
        widths.append(found[(leader + 1) % 6].high - found[(leader + 1) % 6].low)
    assert 0.91 <= np.mean(held) <= 0.995 and 0.1 < np.mean(widths) < 0.2


def test_few_groups_that_differ_clearly_are_significant() -> None:
    """Half an image in each cell, not half a group: eight patients of 50 images, 95 against 80 %."""
    rng, groups, significant = np.random.default_rng(0), np.repeat(np.arange(8), 50), 0
    for seed in range(40):
        scores = (rng.random((2, 400)) < np.array([[0.95], [0.8]])).astype(float)
        draws = paired.resample_means(scores, seed, 500, groups)
        significant += paired.differences_to(0, scores.mean(1), draws, 400)[1].is_significant
    assert significant > 35


def test_holm_against_statsmodels() -> None:
    p = np.random.default_rng(0).random(20) ** 3
    p[3] = p[7]
    assert paired.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    assert paired.holm([0.04]).tolist() == [0.04] and not len(paired.holm([]))


@pytest.mark.parametrize("mean, rope", [(0.005, 0.005), (0.008, 0.012), (-0.012, 0.005)])
def test_bayesian_signed_rank_against_baycomp(mean: float, rope: float) -> None:
    differences = np.random.default_rng(1).normal(mean, 0.015, 9)
    theirs = SignedRankTest.probs(np.zeros(9), differences, rope, nsamples=20_000, random_state=0)
    ours = paired.bayesian_signed_rank(differences, rope)
    assert ours == pytest.approx(theirs, abs=0.015)
    assert sum(ours) == pytest.approx(1)
    assert paired.bayesian_signed_rank(-differences, rope)[::-1] == pytest.approx(ours, abs=0.01)


def test_bayesian_signed_rank_at_the_ends() -> None:
    assert paired.bayesian_signed_rank(np.zeros(10), 0.005) == (0, 1, 0)
    assert paired.bayesian_signed_rank(np.full(10, 0.1), 0.005)[2] > 0.99


# rankings


def test_worked_example_of_demsar() -> None:
    mean = ranks.mean_ranks(DEMSAR)
    assert mean == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert ranks.nemenyi_cd(4, 14) == pytest.approx(1.25, abs=5e-3)
    assert ranks.nemenyi_cd(4, 14, alpha=0.1) == pytest.approx(1.12, abs=5e-3)
    assert 12 * 14 / (4 * 5) * (np.square(mean).sum() - 4 * 5**2 / 4) == pytest.approx(9.28, abs=0.01)
    corrected_for_ties = scipy_stats.friedmanchisquare(*DEMSAR.T)
    assert ranks.friedman(DEMSAR) == pytest.approx(tuple(corrected_for_ties))
    assert ranks.cliques(mean, ranks.nemenyi_cd(4, 14)) == [[3, 1, 2, 0]]  # "not powerful enough" at 5 %
    assert ranks.cliques(mean, ranks.nemenyi_cd(4, 14, alpha=0.1)) == [[3, 1, 2], [2, 0]]


def test_friedman_of_equals() -> None:
    assert ranks.friedman(np.ones((5, 3))) == (0, 1)


def test_critical_differences() -> None:
    assert ranks.nemenyi_cd(11, 17) == pytest.approx(3.66, abs=5e-3)
    scores = np.random.default_rng(0).random((17, 11)) + np.linspace(0, 1, 11)
    p, mean = scikit_posthocs.posthoc_nemenyi_friedman(scores).to_numpy(), ranks.mean_ranks(scores)
    apart = np.abs(mean[:, None] - mean) > ranks.nemenyi_cd(11, 17)
    assert (apart == (p < 0.05)).all() and 0 < apart.sum() < apart.size


def test_a_missing_cell_is_refused() -> None:
    holed = DEMSAR.copy()
    holed[2, 1] = np.nan
    for ask in (ranks.mean_ranks, ranks.friedman):
        with pytest.raises(ValueError, match=r"1 of 56 cells missing.*\[2, 1\]"):
            ask(holed)


@pytest.mark.parametrize("cd", [3, 12, 25, 90])
@pytest.mark.parametrize("seed", range(5))
def test_cliques_against_all_subsets(cd: float, seed: int) -> None:
    mean = np.random.default_rng(seed).integers(10, 80, 8)  # in tenths, so that ties and edges are exact
    near = [
        set(group) for size in range(2, 9) for group in combinations(range(8), size) if np.ptp(mean[list(group)]) <= cd
    ]
    largest = [group for group in near if not any(group < other for other in near)]
    found = ranks.cliques(mean, cd)
    assert sorted(map(sorted, found)) == sorted(map(sorted, largest))
    assert all((np.diff(mean[group]) >= 0).all() for group in found)
