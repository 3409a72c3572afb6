"""Which rate suits a network on these images: the same few for every network, on validation, by successive halving."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, inf

from ..spec import Recipe

# half decades; SGD's rates are larger. They are the same for all networks: none is favoured by a better guess
RATES = {"adamw": (3e-5, 1e-4, 3e-4, 1e-3, 3e-3), "sgd": (3e-3, 1e-2, 3e-2, 1e-1, 3e-1)}
RATES["adam"] = RATES["adamw"]
RUNGS = ((1 / 10, 5), (1 / 4, 2))  # share of the run's steps, and how many rates get it: in all, one run more

Tried = list[dict[str, float | None]]  # {"lr", "steps", "score"} of every trial


def search(recipe: Recipe, trial: Callable[[Recipe], float | None]) -> Tried:
    """Train by fewer and fewer rates, for longer and longer.

    `trial` trains the network from its start by a recipe and returns its score on validation (higher is better; None,
    the worst: the loss was no longer a number). Shorter runs have the whole schedule, compressed (Li et al. 2018, arXiv 1603.06560).
    """
    rates: Sequence[float] = RATES[recipe.phases[0].optimizer]
    tried: Tried = []
    for share, places in RUNGS:
        steps = ceil(share * recipe.steps)
        rates = rates[:places]
        phases = [replace(recipe.phases[0], lr=lr, steps=steps) for lr in rates]
        scores = [trial(replace(recipe, phases=(phase,), eval_every=steps)) for phase in phases]
        tried += [{"lr": lr, "steps": steps, "score": score} for lr, score in zip(rates, scores, strict=True)]
        rates = [each["lr"] for each in sorted(tried[-len(rates) :], key=_rank)]
    return tried


def best_rate(tried: Tried) -> float:
    """The rate of the best score among those that were trained the longest; of equal ones the lowest."""
    longest = max(each["steps"] for each in tried)
    return min((each for each in tried if each["steps"] == longest), key=_rank)["lr"]


def _rank(each: dict[str, float | None]) -> tuple[float, float]:
    return (inf if each["score"] is None else -each["score"], each["lr"])
