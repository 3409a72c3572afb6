"""P(best after fine-tuning): the constants are the measured ones, and large differences count more than small ones."""

import json
from dataclasses import astuple

import numpy as np
import pytest
from conftest import ROOT

from common.models.build import get_backbone
from common.recommend import finetuned_order as order
from common.recommend import published


def row(name: str, score: float, top1: float | None = 0.75, weights: str = "imagenet") -> dict:
    fields = {"backbone": name, "score": score, "interval": (score - 0.01, score + 0.01)}
    return {**fields, "imagenet_top1": top1, "weights": weights}


def test_the_constants_are_measured() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "finetuned_order.json").read_text())
    (both,) = [fit for fit in result["own"] if fit["used"] == ["probe", "top1"]]
    measured = (result["uplift"], *both["weights"], both["eps"])
    assert tuple(round(value, 2) for value in measured) == astuple(order.MEASURED)
    assert round(result["transfer_weight"], 2) == order.DELTA


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
    rows = [row("a", 0.8), row("b", 0.8) | {"transfer": -0.35}]
    assert order.predict(rows, seed=0)[0][0] > 0.7


def test_simulated_frequencies() -> None:
    """Of networks simulated by the model, the predicted one is the best as often as stated."""
    rng, hits, stated = np.random.default_rng(0), [], []
    for _ in range(150):
        probes, top1 = rng.uniform(0.6, 0.9, 3), rng.uniform(0.6, 0.85, 3)
        odds = np.log(probes / (1 - probes)), np.log(top1 / (1 - top1))
        final = order.MEASURED.beta * odds[0] + order.MEASURED.gamma * odds[1] + rng.normal(0, order.MEASURED.eps, 3)
        p, _ = order.predict([row(str(k), probes[k], top1[k]) for k in range(3)], seed=0)
        hits.append(final.argmax() == p.argmax())
        stated.append(p.max())
    assert np.mean(hits) == pytest.approx(np.mean(stated), abs=0.08)


def test_equal_probes_are_a_guess() -> None:
    p, regret = order.predict([row("a", 0.8), row("b", 0.8), row("c", 0.8, None)], seed=0)
    assert p == pytest.approx(np.full(3, 1 / 3), abs=0.03) and 0.01 < regret.min() < 0.04
    rows = [
        r | {"p_best_finetuned": q, "regret_finetuned": 0.02}
        for r, q in zip(map(row, "abc", [0.8] * 3), p, strict=True)
    ]
    assert "too vague to choose by" in order.format_prediction(rows)


def test_a_random_network_is_no_candidate() -> None:
    p, regret = order.predict([row("trained", 0.85), row("random", 0.3, 0.8, weights="none")], seed=0)
    assert p[0] > 0.99 and regret[0] < 0.001 and regret[1] > 0.05
