"""Recipe search: a few short runs, the same for every network, scored on validation by successive halving."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from math import inf
from typing import Any

from torch import nn

from ..errors import UserError
from ..files.disk_cache import cached
from ..spec import Recipe
from . import finetune as training
from .recipes import SEARCH_COST
from .task import Task

# half decades, higher for SGD; the first ones are tried on a small budget
RATES = {"adamw": (3e-4, 1e-3, 1e-4, 3e-3, 3e-5), "sgd": (1e-2, 3e-2, 3e-3, 1e-1)}
RATES["adam"] = RATES["adamw"]
FINALISTS = 2  # continue with twice the steps
MIN_STEPS = 8  # of a trial
MIN_IMAGES = 40  # validation images: with fewer, one image is 2.5 points

Trials = list[dict[str, Any]]  # {"lr", "steps", "score" (None: it diverged), "seconds"}


def with_rate(recipe: Recipe, lr: float) -> Recipe:
    phase, *later = recipe.phases
    return replace(recipe, phases=(replace(phase, lr=lr), *later))


def plan(recipe: Recipe, eval_steps: float) -> tuple[list[float], int]:
    """The rates to try, and the steps of a trial in the first rung; within `SEARCH_COST` of the run; fewer than two: none.

    `eval_steps` is the cost of an evaluation, in training steps.
    """
    rates = list(RATES[recipe.phases[0].optimizer])
    budget = SEARCH_COST * recipe.steps * (1 + eval_steps / recipe.eval_every)
    for n in range(len(rates), 1, -1):
        finalists = FINALISTS if n > FINALISTS else 0
        steps = int((budget - (n + finalists) * eval_steps) / (n + 2 * finalists))
        if steps >= MIN_STEPS:
            return rates[:n], steps
    return [], 0


def search(
    task: Task,
    rates: Sequence[float],
    steps: int,
    build_net: Callable[[], nn.Module],
    cache_key: dict[str, Any] | None,
) -> Trials:
    """Short runs of a task, each from the same initial network; see `halve`.

    `cache_key` is everything that determines a trial except its recipe; with it, trials are cached, so that an
    interrupted search continues.
    """

    def trial(recipe: Recipe) -> dict[str, float | None]:
        def train() -> dict[str, float | None]:
            begin = time.perf_counter()
            score = _train(replace(task, net=build_net(), recipe=recipe, evaluate_first=False, n_selection=0))
            return {"score": score, "seconds": time.perf_counter() - begin}

        return (
            train() if cache_key is None else cached("trials", {**cache_key, "recipe": asdict(recipe)}, train)
        )

    return halve(task.recipe, rates, steps, trial)


def halve(
    recipe: Recipe, rates: Sequence[float], steps: int, trial: Callable[[Recipe], dict[str, float | None]]
) -> Trials:
    """Successive halving: all rates, then the best two for twice the steps (Li et al. 2018, arXiv 1603.06560).

    `trial` trains with a recipe and returns its score (higher is better; None: it diverged) and seconds. A shorter run
    has the whole schedule, compressed.
    """

    def rung(rates: Sequence[float], steps: int) -> Trials:
        return [{"lr": lr, "steps": steps, **trial(_shortened(with_rate(recipe, lr), steps))} for lr in rates]

    trials = rung(rates, steps)
    if len(rates) > FINALISTS:
        finalists = sorted(trials, key=_rank)[:FINALISTS]
        trials += rung([each["lr"] for each in finalists if each["score"] is not None], 2 * steps)
    return trials


def best(trials: Trials) -> dict[str, Any]:
    """The trial with the best score among the longest; on ties the lowest rate.

    Raises:
        UserError: all diverged.
    """
    finite = [each for each in trials if each["score"] is not None]
    if not finite:
        raise UserError("every trial of the recipe search diverged: pass a lower rate, such as --lr 1e-5")
    longest = max(each["steps"] for each in finite)
    return min((each for each in finite if each["steps"] == longest), key=_rank)


def _shortened(recipe: Recipe, steps: int) -> Recipe:
    return replace(recipe, phases=(replace(recipe.phases[0], steps=steps),), eval_every=steps)


def _train(task: Task) -> float | None:
    """The score of a trial; None if it diverged. The loss scaler is restored."""
    scaler = task.accelerator.scaler
    before = scaler and scaler.state_dict()
    try:
        return training.finetune(task, lambda record: None).best_score
    except UserError:
        return None
    finally:
        task.accelerator.free_memory()
        if scaler:
            scaler.load_state_dict(before)


def _rank(trial: dict[str, Any]) -> tuple[float, float]:
    return (inf if trial["score"] is None else -trial["score"], trial["lr"])
