"""Search the learning rate of a run on validation, where it is neither set nor measured."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import nn

from ..data.images.cache import content_hash
from ..training import device, recipe_search, search_budget
from ..training.cpu_kernels import move_to
from ..training.recipes import MIN_VAL
from .config import determining_settings
from .setup import Setup, create_net


def search_recipe(setup: Setup, log: Callable[[dict[str, Any]], None]) -> Setup:
    """The setup with the rate that a search finds, unless the options state one or it was measured for the network.

    A resumed run keeps its rate. `log` gets the trials, or the reason why there are none, or the evidence for a measured rate.

    Raises:
        UserError: no rate is low enough, or a batch size is not available.
    """
    config, task = setup.config, setup.task
    if not task.recipe.steps:
        return _untrained(setup, log)
    n_val = len(setup.dataset.split.val)
    if config.protocol == "clean" and setup.head is not None and n_val < MIN_VAL:
        note = f"{n_val} validation images are too few to tell epochs apart: a linear probe may be as good (--protocol probe)"
        log({"note": note})
    trials = setup.settings["recipe_search"]
    if trials is None and not config.resume and search_budget.is_wanted(config, setup.backbone):
        if reason := search_budget.why_impossible(task.recipe, n_val, config.batch_size):
            lr, source = task.recipe.phases[0].lr, setup.settings["recipe_source"]
            origin = f"{source.replace('_', ' ')} for this network and recipe"
            log({"note": f"learning rate {lr:g} ({origin}), not searched: {reason}; --lr X sets another"})
            return setup
        n_classes, n_trials = (
            len(setup.dataset.samples.classes),
            search_budget.n_trials(task.recipe, n_val, config.batch_size),
        )
        with device.batch_errors(config.forward_size):
            trials = recipe_search.search(task, n_classes, partial(_initial_net, setup), _trial_key(setup), n_trials)
        log({"trials": trials})
    if not trials:
        if evidence := setup.settings["rate_evidence"]:
            log({"note": _format_evidence(evidence)})
        return setup
    recipe = recipe_search.with_rate(task.recipe, recipe_search.best(trials)["lr"])
    searched = {"recipe_search": trials, "recipe": asdict(recipe), "recipe_source": "searched", "rate_evidence": None}
    return replace(setup, task=replace(task, recipe=recipe), settings=setup.settings | searched)


def _untrained(setup: Setup, log: Callable[[dict[str, Any]], None]) -> Setup:
    """The setup whose result is the initial network, and says so."""
    settings = setup.settings
    note = (
        f"{settings['split']['train']} training and {settings['split']['val']} validation images of {settings['classes']} classes are too few "
        "to fine-tune: the frozen network's probe is the result (--steps, --epochs or --lr fine-tune it anyway)"
    )
    log({"note": note})
    untrained = {"caveats": [*settings["caveats"], note], "recipe_source": "untrained", "rate_evidence": None}
    return replace(setup, settings=settings | untrained)


def _format_evidence(evidence: dict[str, Any]) -> str:
    """`evidence`: fields of `recipes.MeasuredLr`."""
    other = f", measured with {evidence['network']}" if evidence["network"] else ""
    compared = ", ".join(f"{lr:g}" for lr in evidence["compared"])
    return (
        f"learning rate {evidence['lr']:g}{other}: the best of {compared} in the mean of {evidence['datasets']} datasets, at 64 pixels "
        "and batch size 32; --lr auto searches one for these images"
    )


def _initial_net(setup: Setup) -> nn.Module:
    """A new copy of the network before its first step."""
    task, n_classes = setup.task, len(setup.dataset.samples.classes)
    net = create_net(setup.config, setup.backbone, n_classes, setup.state, setup.head)
    move_to(net, task.accelerator.device, task.train.memory_format)
    return net


def _trial_key(setup: Setup) -> dict[str, Any] | None:
    """Everything that determines a trial, except its recipe; None: trials are not cached.

    Several processes do not cache, because they must not see different caches.
    """
    settings, dataset = setup.settings, setup.dataset
    if setup.config.no_cache or settings["processes"] > 1:
        return None
    machine = {name: settings[name] for name in ("device", "threads")}
    images = content_hash(dataset.samples.images, dataset.preprocess.size, dataset.preprocess)
    return {**determining_settings(settings), **machine, "images": images}
