"""Whether a run searches its learning rate, and how many trials it can afford. Imports no torch."""

from ..models.registry import Backbone
from ..spec import Recipe, RunConfig
from . import recipes

TRIAL_STEPS, MIN_TRIALS = 25, 2  # one trial has nothing to be compared with
MAX_COST = 1 / 4  # of all trials, as a fraction of the run's cost


def is_wanted(config: RunConfig, backbone: Backbone) -> bool:
    """Whether the options ask for a search, or no rate was measured for the network."""
    return config.lr == "auto" or (recipes.source(config, backbone) == "unmeasured" and not config.no_search)


def why_impossible(recipe: Recipe, n_val: int, batch_size: int) -> str:
    """Why a search is impossible or too expensive; "": it is neither."""
    if recipe.head_start != "probe":
        return "the head starts at random"
    if n_val < recipes.MIN_VAL:
        return f"only {n_val} validation images"
    return "" if n_trials(recipe, n_val, batch_size) >= MIN_TRIALS else "the run is too short"


def is_expected(config: RunConfig, backbone: Backbone, recipe: Recipe, n_val: int) -> bool:
    """Whether a run will search."""
    return is_wanted(config, backbone) and not why_impossible(recipe, n_val, config.batch_size)


def n_trials(recipe: Recipe, n_val: int, batch_size: int) -> int:
    """How many trials cost at most `MAX_COST` of the run; an evaluation costs a third of a step per batch."""
    eval_steps = n_val / (3 * batch_size)
    run = recipe.steps * (1 + eval_steps / recipe.eval_every)
    return int(MAX_COST * run / (TRIAL_STEPS + eval_steps))
