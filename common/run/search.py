"""The recipe of a run, where it is neither given nor measured: searched on validation before training."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torch import nn

from ..data.images.cache import content_hash
from ..training import device, recipe_search, recipes
from ..training.cpu_kernels import move_to
from ..training.recipes import MIN_VAL
from .config import determining_settings
from .setup import Setup, create_net

BY_CHANCE = "select an epoch by chance: the frozen network's probe may be as good (--protocol probe)"


def search_recipe(setup: Setup, log: Callable[[dict[str, Any]], None]) -> Setup:
    """The setup with the rate that a search finds, unless the options state one or it was measured for the network.

    A resumed run keeps its rate. `log` gets the trials, or the reason why there are none, or the evidence for a measured rate.

    Raises:
        UserError: every rate destroys the network, or a batch size is not available.
    """
    config, task = setup.config, setup.task
    if not task.recipe.steps:
        return _untrained(setup, log)
    if config.protocol == "clean" and setup.head is not None and (n := len(setup.loaders["val"].labels)) < MIN_VAL:
        log({"note": f"{n} validation images {BY_CHANCE}"})
    trials = setup.settings["recipe_search"]
    if trials is None and not config.resume and recipes.is_searched(config, setup.backbone):
        run = task.recipe, len(setup.loaders["val"].labels), config.batch_size
        if reason := recipes.why_not_searched(*run):
            lr, source = task.recipe.phases[0].lr, setup.settings["recipe_source"]
            origin = f"{source.replace('_', ' ')} for this network and recipe"
            log({"note": f"no search for the learning rate {reason}: {lr:g} ({origin}; --lr X sets another)"})
            return setup
        with device.batch_errors(config.forward_size):
            n_classes, build = len(setup.dataset.samples.classes), partial(_initial_net, setup)
            trials = recipe_search.search(task, n_classes, build, _trial_key(setup), recipes.n_trials(*run))
        log({"trials": trials})
    if not trials:
        if evidence := setup.settings["rate_evidence"]:
            log({"note": _format_evidence(evidence)})
        return setup
    recipe = recipe_search.with_rate(task.recipe, recipe_search.best(trials)["lr"])
    found = {"recipe_search": trials, "recipe": asdict(recipe), "recipe_source": "searched", "rate_evidence": None}
    return replace(setup, task=replace(task, recipe=recipe), settings=setup.settings | found)


def _untrained(setup: Setup, log: Callable[[dict[str, Any]], None]) -> Setup:
    """The setup whose result is the initial network, and says so."""
    settings = setup.settings
    note = (
        f"{settings['split']['train']} training and {settings['split']['val']} validation images of {settings['classes']} classes are too few "
        "to fine-tune: the frozen network's probe is the result (to fine-tune nevertheless, pass --steps, --epochs or --lr)"
    )
    log({"note": note})
    found = {"caveats": [*settings["caveats"], note], "recipe_source": "untrained", "rate_evidence": None}
    return replace(setup, settings=settings | found)


def _format_evidence(evidence: dict[str, Any]) -> str:
    """`evidence`: fields of `recipes.MeasuredLr`."""
    other = f", taken over from {evidence['network']}" if evidence["network"] else ""
    compared = ", ".join(f"{lr:g}" for lr in evidence["compared"])
    return (
        f"learning rate {evidence['lr']:g}{other}: of {compared} the best in the mean of {evidence['datasets']} datasets at 64 pixels, "
        "in batches of 32; --lr auto searches on these images"
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
