"""Learning-rate search: the same few rates for every network, scored on validation, by successive halving."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from math import ceil, inf
from typing import Any

from torch import nn

from ..errors import UserError
from ..files.disk_cache import cached
from ..spec import Recipe
from . import finetune as training
from .task import Task

# half decades, higher for SGD; the same for all networks, so that none has a better prior
RATES = {"adamw": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), "sgd": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)}
RATES["adam"] = RATES["adamw"]
RUNGS = (
    (1 / 10, 5),
    (1 / 4, 2),
)  # (fraction of the run's steps, number of rates); together the cost of one run

Trials = list[dict[str, float | None]]  # {"lr", "steps", "score"}


def search_lr(
    task: Task,
    build_net: Callable[[], nn.Module],
    cache_key: dict[str, Any] | None,
    log: Callable[[dict[str, Any]], None],
) -> Trials:
    """Short runs of a task at several rates, each from the same initial network.

    `cache_key` is everything that determines a trial except its recipe; with it, trials are cached, so that an
    interrupted search continues. `log` gets {"trial": rate, "steps", "score"} of each.
    """

    def trial(recipe: Recipe) -> float | None:
        def train() -> dict[str, float | None]:
            return {"score": _train(replace(task, net=build_net(), recipe=recipe, n_selection=0))}

        key = cache_key and {**cache_key, "recipe": asdict(recipe)}
        score = (train() if key is None else cached("trials", key, train))["score"]
        log({"trial": recipe.phases[0].lr, "steps": recipe.steps, "score": score})
        return score

    return halve(task.recipe, trial)


def halve(recipe: Recipe, trial: Callable[[Recipe], float | None]) -> Trials:
    """Successive halving: fewer rates, more steps in each rung (Li et al. 2018, arXiv 1603.06560).

    `trial` trains with a recipe and returns the score (higher is better; None: it diverged). A shorter run has the
    whole schedule, compressed.
    """
    rates: Sequence[float] = RATES[recipe.phases[0].optimizer]
    trials: Trials = []
    for fraction, n in RUNGS:
        steps = ceil(fraction * recipe.steps)
        rates = rates[:n]
        phases = [replace(recipe.phases[0], lr=lr, steps=steps) for lr in rates]
        scores = [trial(replace(recipe, phases=(phase,), eval_every=steps)) for phase in phases]
        rung = [{"lr": lr, "steps": steps, "score": score} for lr, score in zip(rates, scores, strict=True)]
        rates = [each["lr"] for each in sorted(rung, key=_rank)]
        trials += rung
    return trials


def best_rate(trials: Trials) -> float:
    """The rate with the best score among the longest trials; on ties the lowest."""
    longest = max(each["steps"] for each in trials)
    return min((each for each in trials if each["steps"] == longest), key=_rank)["lr"]


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


def _rank(trial: dict[str, float | None]) -> tuple[float, float]:
    return (inf if trial["score"] is None else -trial["score"], trial["lr"])
