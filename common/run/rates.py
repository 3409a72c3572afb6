"""The learning rate that a run asks for with `--lr auto`: short runs of its own, remembered."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from accelerate import Accelerator

from ..data.images.cache import content_hash
from ..data.loader import Batches
from ..errors import UserError
from ..files.disk_cache import cached
from ..models import build
from ..models.registry import Backbone
from ..spec import Preprocess, Recipe, RunConfig, Samples
from ..training import finetune as training
from ..training import lr_search as halving
from ..training.cpu_kernels import move_to
from .config import determining_settings


def about(
    config: RunConfig, settings: dict[str, Any], samples: Samples, preprocess: Preprocess
) -> dict[str, Any] | None:
    """All that determines a trial beside its recipe, to remember it by.

    None: it is not remembered, without a cache, or by several processes, which must not differ in what they find.
    """
    if config.no_cache or settings["processes"] > 1:
        return None
    machine = {name: settings[name] for name in ("device", "threads")}
    pictures = content_hash(samples.images, preprocess.size, preprocess)
    return {**determining_settings(settings), **machine, "images": pictures}


def search(
    config: RunConfig,
    row: Backbone,
    classes: int,
    state: dict | None,
    train: Batches,
    choose: Callable[[torch.nn.Module], tuple[float, dict[str, float]]],
    recipe: Recipe,
    about: dict[str, Any] | None,
    accelerator: Accelerator,
    tell: Callable[[dict[str, Any]], None],
) -> list[dict[str, Any]]:
    """Short runs from the same start at several rates, each judged on validation.

    `about` is all that determines them beside their recipe: by it they are remembered, should this run break. None: they are not.
    `tell` gets the rate (`trial`), `steps` and `score` of each.
    """
    scaler = accelerator.scaler
    fresh = scaler and scaler.state_dict()

    def train_shortly(short: Recipe) -> dict[str, float | None]:
        torch.manual_seed(config.seed)
        net = build.create_model(row, classes, state)
        move_to(net, accelerator.device, train.memory_format)
        augment, seed = config.dataset.augment, config.seed
        try:
            trained = training.finetune(
                net, row.head, train, augment, choose, short, accelerator, seed, lambda record: None
            )
        except UserError:  # the loss is no longer a number
            return {"score": None}
        finally:
            accelerator.free_memory()
            if scaler:  # what one rate has done to it is not the next one's
                scaler.load_state_dict(fresh)
        return {"score": trained.best_score}

    def trial(short: Recipe) -> float | None:
        if about is None:
            score = train_shortly(short)["score"]
        else:
            score = cached("trials", {**about, "recipe": asdict(short)}, lambda: train_shortly(short))[
                "score"
            ]
        tell({"trial": short.phases[0].lr, "steps": short.steps, "score": score})
        return score

    return halving.search(recipe, trial)
