"""The scores of a fitted network: the one evaluation on the test set."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import softmax

from ..metrics import calibration, classification, cost
from ..statistics import intervals
from ..training import heartbeat
from ..training.evaluate import evaluate
from ..training.finetune import Fitted
from . import results
from .config import model_card
from .predictions import Part
from .setup import Setup
from .trained_on import sketch


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    logits: dict[Part, np.ndarray]  # (N, C) by the selected weights, of test, and of val if there is one
    seconds: float  # of these forward passes
    last: dict[str, float] | None  # {metric: score} of the last weights, with `Recipe.test_last`
    temperature: float | None  # fitted on validation; None: without a validation set


def test(setup: Setup, fitted: Fitted) -> Evaluation:
    """Write the fitted weights and evaluate the selected ones on the test images."""
    task, out = setup.task, setup.config.out
    card = model_card(setup.backbone, setup.dataset, setup.config.dataset)
    trained_on = sketch(setup.config, setup.backbone, setup.dataset) if setup.main_process else ""
    last = temperature = None
    if task.recipe.test_last:
        last = classification.score(_logits(setup, "test"), setup.loaders["test"].labels)
        if setup.main_process:
            results.write_weights(out / results.LAST, task.net, card, trained_on)
    task.net.load_state_dict(fitted.weights)
    logits: dict[Part, np.ndarray] = {}
    if task.recipe.choose_on == "val":
        logits["val"] = _logits(setup, "val")
        temperature = calibration.fit_temperature(logits["val"], setup.loaders["val"].labels)
    if setup.main_process:
        results.write_weights(out / results.BEST, task.net, card | {"temperature": temperature}, trained_on)
    with cost.Timer(task.accelerator.device) as timer:
        logits["test"] = _logits(setup, "test")
    return Evaluation(logits=logits, seconds=timer.seconds, last=last, temperature=temperature)


def _logits(setup: Setup, part: Part) -> np.ndarray:
    touch = heartbeat.keep_alive(setup.config.out)
    return evaluate(setup.task.net, setup.loaders[part], setup.task.accelerator, touch)


def score_with_intervals(
    logits: np.ndarray, labels: np.ndarray, seed: int, groups: np.ndarray | None = None
) -> dict[str, dict[str, Any]]:
    """{metric: {"value", "interval"}} of a part, with intervals over images or over (N,) `groups`.

    The interval of AUROC is None if a class has only a handful of images, or a single group.
    """
    scores = _bootstrap_scores(logits, labels, seed, groups)
    values = classification.auroc_values(softmax(np.asarray(logits, np.float64), axis=1), labels)
    if values is not None:
        interval = intervals.of_auroc(values, labels, groups=groups) if _all_classes_drawn(labels) else None
        scores["auroc"] = {"value": float(values.mean()), "interval": interval}
    return scores


def _bootstrap_scores(
    logits: np.ndarray, labels: np.ndarray, seed: int, groups: np.ndarray | None
) -> dict[str, dict[str, Any]]:
    scorer = classification.scorer(logits, labels)
    bounds = intervals.bootstrap(scorer, len(labels), seed, groups=groups)
    return {name: {"value": value, "interval": bounds[name]} for name, value in scorer(np.ones(len(labels))).items()}


def _all_classes_drawn(labels: np.ndarray) -> bool:
    """Whether at least 95 % of bootstrap samples have an image of every class."""
    absent = (1 - np.bincount(labels) / len(labels)) ** len(labels)
    return bool(np.prod(1 - absent) >= 0.95)


def calibrated_scores(
    logits: np.ndarray, labels: np.ndarray, temperature: float | None, seed: int, groups: np.ndarray | None = None
) -> dict[str, dict[str, Any]] | None:
    """The scores that temperature scaling changes; None without a temperature."""
    if temperature is None:
        return None
    scores = _bootstrap_scores(logits / temperature, labels, seed, groups)
    return {name: scores[name] for name in ("nll", "ece")}
