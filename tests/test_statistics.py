"""Every statistic against an independent implementation or a worked example; and intervals that cover what they should."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from common.measure import compare, metrics, ranks, stats

# Demsar 2006, table 6: AUC of four variants of C4.5 on 14 datasets
DEMSAR = np.array([
    [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967], [0.628, 0.661, 0.654, 0.657],
    [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931], [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625],
    [0.775, 0.838, 0.866, 0.875], [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
    [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
])  # fmt: skip


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_worked_example_of_demsar() -> None:
    """Mean ranks 3.143, 2.000, 2.893, 1.964; critical difference 1.25; F-test 3.69 of chi-square 9.28."""
    means = ranks.mean_ranks(DEMSAR)
    assert means == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert 12 * 14 / (4 * 5) * ((means**2).sum() - 4 * 25 / 4) == pytest.approx(9.28, abs=0.005)
    assert ranks.nemenyi_cd(4, 14) == pytest.approx(1.25, abs=0.005)


def test_friedman_is_scipys(rng) -> None:
    for scores in (DEMSAR, rng.normal(size=(9, 5)), rng.integers(0, 3, (12, 4)).astype(float)):
        expected = scipy_stats.friedmanchisquare(*scores.T)
        assert ranks.friedman(scores) == pytest.approx((expected.statistic, expected.pvalue))
    assert ranks.friedman(np.ones((5, 3))) == (0.0, 1.0)


def test_the_critical_difference_of_the_paper() -> None:
    """Eleven backbones on seventeen datasets: nothing nearer than 3.66 ranks can be told apart."""
    assert ranks.nemenyi_cd(11, 17) == pytest.approx(3.66, abs=0.005)


def test_nemenyi_is_that_of_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    p = posthocs.posthoc_nemenyi_friedman(DEMSAR).to_numpy()
    means = ranks.mean_ranks(DEMSAR)
    apart = np.abs(means[:, None] - means) > ranks.nemenyi_cd(4, 14, alpha=0.1)
    assert np.array_equal(p < 0.1, apart) and apart.any()


def test_cliques() -> None:
    means = np.array([1.0, 3.0, 1.5, 2.2, 9.0])
    assert ranks.cliques(means, 1.0) == [[0, 2], [2, 3], [3, 1]]
    assert ranks.cliques(means, 1.3) == [[0, 2, 3], [3, 1]]
    assert ranks.cliques(means, 10) == [[0, 2, 3, 1, 4]] and ranks.cliques(means, 0.1) == []


def test_a_missing_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="a score is missing"):
        ranks.mean_ranks(np.array([[1.0, np.nan]]))


def test_mcnemar_and_holm_are_those_of_statsmodels(rng) -> None:
    contingency = pytest.importorskip("statsmodels.stats.contingency_tables")
    from statsmodels.stats.multitest import multipletests

    found = []
    for rate in (0.5, 0.55, 0.7, 0.9):
        a, b = rng.random(200) < 0.6, rng.random(200) < rate
        table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
        assert compare.mcnemar(a, b) == pytest.approx(contingency.mcnemar(table, exact=True).pvalue)
        found.append(compare.mcnemar(a, b))
    assert compare.mcnemar(a, a) == 1.0
    assert compare.holm(found[::-1]) == pytest.approx(multipletests(found[::-1], method="holm")[1])


def test_bayesian_signed_rank_is_baycomps(rng) -> None:
    baycomp = pytest.importorskip("baycomp")
    for shift in (0.0, 0.01, -0.02):
        differences = rng.normal(shift, 0.02, 17)
        ours = compare.bayesian_signed_rank(differences, 0.005)
        theirs = baycomp.SignedRankTest.probs(
            differences, np.zeros(17), rope=0.005, prior=0.5, nsamples=50_000, random_state=1
        )
        assert sum(ours) == pytest.approx(1)
        assert ours[::-1] == pytest.approx(theirs, abs=0.015) or ours == pytest.approx(theirs, abs=0.015)
    worse, equal, better = compare.bayesian_signed_rank(np.full(17, 0.05), 0.01)
    assert better > 0.999 and worse == pytest.approx(0) and equal < 1e-3


def test_paired_bootstrap_is_scipys(rng) -> None:
    a, b = (rng.random((3, 400)) < p for p in (0.80, 0.74))
    ours = compare.paired_bootstrap(a, b)
    by_image = a.mean(0) - b.mean(0)
    theirs = scipy_stats.bootstrap((by_image,), np.mean, n_resamples=10_000, method="percentile", rng=1)
    assert ours.difference == pytest.approx(by_image.mean())
    assert (ours.low, ours.high) == pytest.approx(theirs.confidence_interval, abs=2e-3)
    z = by_image.mean() / (by_image.std() / 20)
    assert ours.p == pytest.approx(2 * scipy_stats.norm.sf(z), abs=0.005)
    other = compare.paired_bootstrap(b, a)
    assert (other.low, other.high) == pytest.approx((-ours.high, -ours.low), abs=1e-12) and other.p == ours.p
    assert compare.paired_bootstrap(a, a) == compare.Difference(0.0, 0.0, 0.0, 1.0)


def test_who_is_best(rng) -> None:
    """Against the normal's own integral for two; equal ones share; the sum is one."""
    a, b, c = (rng.random(500) < p for p in (0.8, 0.78, 0.5))
    best = compare.p_best(np.stack([a, b, c]))
    d = a.astype(float) - b
    assert best.sum() == pytest.approx(1) and best[2] == 0
    assert best[0] == pytest.approx(scipy_stats.norm.cdf(d.mean() / (d.std() / 500**0.5)), abs=0.03)
    assert compare.p_best(np.stack([a, a, a])) == pytest.approx([1 / 3] * 3)
    near = compare.equivalent(np.stack([a, a, c]), 0.005)
    assert near.tolist() == [1.0, 1.0, 0.0]


def test_draws_of_a_mean_are_means(rng) -> None:
    """The way of any metric and the fast way of means are the same resamples."""
    scores = (rng.random((2, 60)) < 0.7).astype(float)
    drawn = compare.draws([lambda w, s=s: (w * s).sum() / w.sum() for s in scores], 60, seed=3, resamples=500)
    assert compare.p_best_of(drawn) == pytest.approx(compare.p_best(scores, seed=3, resamples=500))
    assert compare.equivalent_of(drawn, int(scores.mean(1).argmax()), 0.02) == pytest.approx(
        compare.equivalent(scores, 0.02, seed=3, resamples=500)
    )


def test_many_images_fit_into_memory(monkeypatch: pytest.MonkeyPatch, rng) -> None:
    scores = rng.random((2, 50))
    whole = compare.p_best(scores, resamples=100)
    monkeypatch.setattr(compare, "CELLS", 200)
    assert compare.p_best(scores, resamples=100) == pytest.approx(whole), "in pieces, the same draws"


@pytest.mark.parametrize(("n", "accuracy"), [(400, 0.85), (5_000, 0.95)])
def test_intervals_cover(n: int, accuracy: float, rng) -> None:
    """95 % intervals of top-1, macro-F1 and a paired difference hold the truth in 93 to 97 % of 500 worlds.

    With 500 of them a share has a standard error of one point.
    """
    worlds, classes = 500, 4
    cells = np.full((classes, classes), (1 - accuracy) / (classes * (classes - 1)))
    np.fill_diagonal(cells, accuracy / classes)
    truth = {**of_counts(cells), "difference": 0.4 * 0.05}
    covered = dict.fromkeys(truth, 0)
    for world in range(worlds):
        drawn = rng.choice(classes**2, n, p=cells.ravel())  # label and prediction of every image
        found = stats.bootstrap(
            lambda weights, drawn=drawn: of_counts(np.bincount(drawn, weights, classes**2).reshape(classes, classes)),
            n, world, resamples=400,
        )  # fmt: skip
        right = drawn % (classes + 1) == 0
        other = np.where(rng.random(n) < 0.4, rng.random(n) < accuracy - 0.05, right)
        difference = compare.paired_bootstrap(right, other, world, resamples=400)
        found["difference"] = (difference.low, difference.high)
        for name, value in truth.items():
            covered[name] += found[name][0] <= value <= found[name][1]
    shares = {name: hits / worlds for name, hits in covered.items()}
    assert all(0.93 <= share <= 0.97 for share in shares.values()), shares


def of_counts(cells: np.ndarray) -> dict[str, float]:
    hit = np.diag(cells)
    return {"top1": hit.sum() / cells.sum(), "macro_f1": (2 * hit / (cells.sum(0) + cells.sum(1))).mean()}


def test_the_quick_scores_are_those_of_metrics(rng) -> None:
    labels, said = rng.integers(0, 4, (2, 300))
    ours = metrics.score(np.eye(4)[said], labels)
    quick = of_counts(np.bincount(4 * labels + said, minlength=16).reshape(4, 4))
    assert {name: ours[name] for name in quick} == pytest.approx(quick)
