"""P(best after fine-tuning): the constants are the measured ones, and large differences count more than small ones."""

import json
from dataclasses import astuple

import numpy as np
import pytest
from conftest import ROOT
from scipy.special import expit, ndtri

from common.models.build import get_backbone
from common.recommend import finetuned_order as order
from common.recommend import published, ranking
from common.recommend.race import belief, loop
from common.statistics import posterior


def row(name: str, top1: float | None = 0.75, weights: str = "imagenet") -> dict:
    return {"backbone": name, "imagenet_top1": top1, "weights": weights}


def predict(rows: list[dict], probes: list[float], n: int = 100_000, seed: int = 0) -> list[dict]:
    """The rows with their prediction from probes that have these fractions of n images right, wrong ones drawn independently."""
    rng = np.random.default_rng(seed)
    right = np.array([rng.permutation(n) < p * n - 1e-9 for p in probes]).astype(int)
    return predict_images(rows, right, seed)


def predict_images(rows: list[dict], right: np.ndarray, seed: int = 0) -> list[dict]:
    draws = ranking.true_scores(right, np.ones(right.shape[1], int), "top1", seed)
    found = order.summarize(order.draw(rows, draws, right.shape[1], seed))
    return [r | {name: float(values[k]) for name, values in found.items()} for k, r in enumerate(rows)]


def test_the_constants_are_measured() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "finetuned_order.json").read_text())
    (both,) = [fit for fit in result["own"] if fit["used"] == ["probe", "top1"]]
    measured = (result["uplift"], *both["weights"], both["eps"])
    assert tuple(round(value, 2) for value in measured) == astuple(order.MEASURED)
    assert round(result["transfer_weight"], 2) == order.DELTA
    loss = [row["loss"] for row in result["random"]]
    assert (round(np.mean(loss), 1), round(np.std(loss, ddof=1), 0)) == (order.RANDOM_LOSS, order.RANDOM_LOSS_SD)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet50_v1", True),
        ("resnet50", False),  # other weights
        ("timm:swin_s3_tiny_224", True),
        ("timm:swin_s3_tiny_224=some.pth", False),
        ("efficientnet_lite0", False),
    ],
)
def test_published_results_are_of_the_same_weights(name: str, known: bool) -> None:
    assert (published.find(get_backbone(name)) is not None) == known


def test_published_results_count() -> None:
    rows = [row("a"), row("b") | {"transfer": -0.35}]
    assert predict(rows, [0.8, 0.8])[0]["p_best_finetuned"] > 0.7


def simulated(n: int, level: float, repetitions: int) -> dict[str, float]:
    """Networks of the model's own world, probed on n images: what the choice is said to be, and is."""
    rng, found = np.random.default_rng(0), []
    for seed in range(repetitions):
        probes, top1 = level + rng.normal(0, 0.3, 3), rng.normal(0, 0.15, 3)
        final = (
            probes.mean() + order.MEASURED.beta * (probes - probes.mean()) + order.MEASURED.gamma * (top1 - top1.mean())
        )
        final = expit(final + order.MEASURED.uplift + rng.normal(0, order.MEASURED.eps, 3))
        latent = (rng.normal(size=n) + rng.normal(size=(3, n))) / 2**0.5
        right = (latent < ndtri(expit(probes))[:, None]).astype(int)
        rows = predict_images([row(str(k), value) for k, value in enumerate(expit(1 + top1))], right, seed)
        p, regret = (np.array([r[name] for r in rows]) for name in ("p_best_finetuned", "regret_finetuned"))
        found.append((p.max(), p.argmax() == final.argmax(), regret.min(), final.max() - final[regret.argmin()]))
    return dict(zip(("stated", "right", "regret", "lost"), np.mean(found, 0).tolist(), strict=True))


@pytest.mark.parametrize(("n", "level"), [(12, 1.7), (20, 3.0), (400, 1.7)])
def test_simulated_frequencies(n: int, level: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network said to be the best is so as often as stated, also if 20 images are nearly all right."""
    for name, value_ in (("DRAWS", 2000), ("SIGMA_A", posterior.SIGMA_A[::4]), ("TAU", posterior.TAU[::3])):
        monkeypatch.setattr(posterior, name, value_)
    one = simulated(n, level, repetitions=100)
    assert one["stated"] == pytest.approx(one["right"], abs=0.1)
    assert 0.5 < one["regret"] / one["lost"] < 2


@pytest.mark.parametrize("correct", [(4, 3), (4, 4), (20, 19, 18), (400, 399, 398)])
def test_all_images_right_is_no_certainty(correct: tuple[int, ...]) -> None:
    """Fine-tuned networks of equal top-1 are no surer than their probes, and a loss is expected."""
    n = correct[0]
    right = np.array([np.arange(n) < c for c in correct]).astype(int)
    rows = predict_images([row(str(k)) for k in range(len(right))], right)
    probe = posterior.p_best(ranking.true_scores(right, np.ones(n, int), "top1", 0))
    assert rows[0]["p_best_finetuned"] < probe[0] + 0.01 < 0.6
    assert min(rows[0]["regret_finetuned"], rows[0]["error_finetuned"]) > 0.02 / n
    assert "0.0 points per backbone" not in order.format_prediction(rows)


def test_a_race_does_not_end_by_four_images() -> None:
    rows = [row("a"), row("b")]
    draws = 100 * order.draw(rows, ranking.true_scores(np.ones((2, 4), int), np.ones(4, int), "top1", 0), 4, 0)
    prior = belief.Prior(draws.mean(0), np.cov(draws.T), (0.25, 0.5, 1.0), 2, 2)
    assert posterior.expected_regret(belief.infer(prior, []).draws).min() > loop.TOLERANCE


def test_equal_probes_are_a_guess() -> None:
    rows = predict([row("a"), row("b"), row("c", None)], [0.8] * 3)
    assert [r["p_best_finetuned"] for r in rows] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert 0.01 < min(r["regret_finetuned"] for r in rows) < 0.04
    assert "too vague to choose by" in order.format_prediction(rows)


def test_a_random_network_is_no_candidate() -> None:
    rows = predict([row("trained"), row("random", 0.8, weights="none")], [0.85, 0.3])
    assert rows[0]["p_best_finetuned"] > 0.99
    assert rows[0]["regret_finetuned"] < 0.001 and rows[1]["regret_finetuned"] > 0.05
    rows = predict([row("trained"), row("random", weights="none")], [0.71, 0.72])
    assert 0.005 < rows[1]["p_best_finetuned"] < 0.1  # an odd probe is no reason to train from scratch
    rows = predict([row(name, weights="none") for name in "abc"], [0.72, 0.71, 0.70])
    assert max(r["p_best_finetuned"] for r in rows) < 0.5 and rows[0]["error_finetuned"] > 0.05


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a"), row("b")], "from probe and ImageNet top-1, with"),
        ([row("a"), row("b") | {"transfer": 0.1}], "from probe, ImageNet top-1 and published results, with"),
        ([row("a"), row("b", None)], "from probe and ImageNet top-1 where it is known, with"),
        ([row("a", None), row("b", None)], "from the probe alone, with"),
        (
            [row("a"), row("b", weights="none")],
            "from probe and ImageNet top-1, random weights being assumed to be worse",
        ),
        ([row("a", weights="none")] * 2, "from the probe alone, random weights being assumed to be worse"),
    ],
)
def test_the_prediction_says_what_it_is_made_from(rows: list[dict], expected: str) -> None:
    assert expected in order.format_prediction(predict(rows, [0.8, 0.7]))
