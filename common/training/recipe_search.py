"""Recipe search: the peak rate at which a pretrained network fits validation best after a few steps.

Each trial is a whole schedule, compressed. It needs a network that starts as a soft probe of itself: from a random or a
confident head the lowest rate always wins, as it changes the network least (docs/training.md).
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from torch import nn

from ..errors import UserError
from ..files.disk_cache import cached
from ..spec import Recipe
from . import finetune as training
from . import search_budget
from .task import Task

RATES = {"adamw": (1e-3, 3e-4, 1e-4, 3e-5), "sgd": (3e-3, 1e-3, 3e-4, 1e-4)}  # half decades
RATES["adam"] = RATES["adamw"]
GUESS = 0.97  # above this fraction of a uniform guess's NLL, a network is no better than that

Trials = list[dict[str, Any]]  # {"lr", "steps", "nll" (None: it diverged), "seconds"}


def with_rate(recipe: Recipe, lr: float) -> Recipe:
    phase, *later = recipe.phases
    return replace(recipe, phases=(replace(phase, lr=lr), *later))


def search(
    task: Task, n_classes: int, build_net: Callable[[], nn.Module], cache_key: dict[str, Any] | None, n_trials: int
) -> Trials:
    """Short runs of a task from the same initial network, at falling rates until the NLL on validation rises.

    At most `n_trials`, and as many more as it takes to find a rate at which the network beats a guess.

    `cache_key` is everything that determines a trial except its recipe; with it, trials are cached, so that an
    interrupted search continues.

    Raises:
        UserError: at every rate the network is no better than a guess.
    """

    def trial(lr: float) -> dict[str, Any]:
        recipe, steps = with_rate(task.recipe, lr), search_budget.TRIAL_STEPS
        recipe = replace(recipe, phases=(replace(recipe.phases[0], steps=steps),), eval_every=steps)

        def train() -> dict[str, float | None]:
            begin = time.perf_counter()
            nll = _train(replace(task, net=build_net(), recipe=recipe, evaluate_first=False, n_selection=0))
            return {"nll": nll, "seconds": time.perf_counter() - begin}

        key = cache_key and {**cache_key, "recipe": asdict(recipe)}
        return {"lr": lr, "steps": steps, **(train() if key is None else cached("trials", key, train))}

    rates, trials = RATES[task.recipe.phases[0].optimizer], []

    def beats_guess() -> bool:
        return _nll(best(trials)) < GUESS * math.log(n_classes)

    for lr in rates:
        trials.append(trial(lr))
        if best(trials) is not trials[-1] or (len(trials) >= n_trials and beats_guess()):
            break
    if not beats_guess():
        raise UserError(
            f"at every learning rate from {rates[0]:g} to {rates[-1]:g} the network is no better than a guess after {search_budget.TRIAL_STEPS} steps: "
            "pass a lower --lr"
        )
    return trials


def best(trials: Trials) -> dict[str, Any]:
    """The trial of the lowest NLL, of equal ones the lower rate's."""
    return min(reversed(trials), key=_nll)


def _nll(trial: dict[str, Any]) -> float:
    return math.inf if trial["nll"] is None else trial["nll"]


def _train(task: Task) -> float | None:
    """The NLL on validation after a trial; None if it diverged. The loss scaler is restored."""
    scaler = task.accelerator.scaler
    before = scaler and scaler.state_dict()
    try:
        return training.finetune(task, lambda record: None).best["val_nll"]
    except UserError:
        return None
    finally:
        task.accelerator.free_memory()
        if scaler:
            scaler.load_state_dict(before)
