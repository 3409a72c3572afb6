"""Recipe search: a few short runs, the same for every network, scored on validation by successive halving."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from itertools import product
from math import inf
from typing import Any

from torch import nn

from ..errors import UserError
from ..files.disk_cache import cached
from ..spec import Recipe
from . import finetune as training
from .recipes import SEARCH_COST
from .task import Task

# half decades, higher for SGD and lower for networks without batch norm; the first ones are tried on a small budget
RATES = {"adamw": (1e-3, 3e-4, 3e-3), "sgd": (3e-2, 1e-2, 1e-1)}
RATES["adam"] = RATES["adamw"]
NO_NORM_FACTOR = 0.3
STEM_LRS = (1.0, 0.1)  # of networks without batch norm
FINALISTS = 2  # continue with twice the steps
MIN_STEPS = 8  # of a trial
MIN_IMAGES = 40  # validation images: with fewer, one image is 2.5 points

Candidate = dict[str, Any]  # {"lr", "stem_lr", "batch_norm"}
Trials = list[dict[str, Any]]  # candidates with their "steps", "score" (None: it diverged) and "seconds"


def candidates(recipe: Recipe, net: nn.Module, batch_norm: str | None) -> list[Candidate]:
    """The recipes to try, the likeliest first. `batch_norm`: only this one."""
    rates = RATES[recipe.phases[0].optimizer]
    if not _has_batch_norm(net):
        rates = [NO_NORM_FACTOR * rate for rate in rates]
        found = product(rates, STEM_LRS, [recipe.batch_norm])
    else:
        found = product(rates, [1.0], [batch_norm] if batch_norm else ["pretrained", "batch"])
    return [{"lr": lr, "stem_lr": stem_lr, "batch_norm": norm} for lr, stem_lr, norm in found]


def apply(recipe: Recipe, candidate: Candidate) -> Recipe:
    phase, *later = recipe.phases
    phase = replace(phase, lr=candidate["lr"], stem_lr=candidate["stem_lr"])
    return replace(recipe, phases=(phase, *later), batch_norm=candidate["batch_norm"])


def plan(recipe: Recipe, n_candidates: int, eval_steps: float) -> tuple[int, int]:
    """(candidates, steps of a trial in the first rung), within `SEARCH_COST` of the run; (0, 0): not even two trials.

    `eval_steps` is the cost of an evaluation, in training steps.
    """
    n_evaluations = recipe.steps / recipe.eval_every
    budget = SEARCH_COST * (recipe.steps + n_evaluations * eval_steps)
    for n in range(n_candidates, 1, -1):
        finalists = FINALISTS if n > FINALISTS else 0
        steps = int((budget - (n + finalists) * eval_steps) / (n + 2 * finalists))
        if steps >= MIN_STEPS:
            return n, steps
    return 0, 0


def search(
    task: Task,
    found: Sequence[Candidate],
    steps: int,
    build_net: Callable[[], nn.Module],
    cache_key: dict[str, Any] | None,
) -> Trials:
    """Short runs of a task, each from the same initial network.

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

    return halve(task.recipe, found, steps, trial)


def halve(
    recipe: Recipe,
    found: Sequence[Candidate],
    steps: int,
    trial: Callable[[Recipe], dict[str, float | None]],
) -> Trials:
    """Successive halving: fewer candidates, more steps in the second rung (Li et al. 2018, arXiv 1603.06560).

    `trial` trains with a recipe and returns its score (higher is better; None: it diverged) and seconds. A shorter run
    has the whole schedule, compressed.
    """
    trials: Trials = []
    for rung_steps, n in ((steps, len(found)), (2 * steps, FINALISTS)):
        if trials and len(found) <= FINALISTS:
            break
        rung = []
        for candidate in found[:n]:
            changed = apply(recipe, candidate)
            phase = replace(changed.phases[0], steps=rung_steps)
            scores = trial(replace(changed, phases=(phase,), eval_every=rung_steps))
            rung.append({**candidate, "steps": rung_steps, **scores})
        found = [{name: each[name] for name in found[0]} for each in sorted(rung, key=_rank)]
        trials += rung
    return trials


def best(trials: Trials) -> dict[str, Any]:
    """The trial with the best score among the longest; on ties the lowest rate.

    Raises:
        UserError: all diverged.
    """
    if all(each["score"] is None for each in trials):
        raise UserError("every trial of the recipe search diverged: pass a lower rate, such as --lr 1e-5")
    longest = max(each["steps"] for each in trials if each["score"] is not None)
    return min((each for each in trials if each["steps"] == longest), key=_rank)


def _has_batch_norm(net: nn.Module) -> bool:
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())


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
