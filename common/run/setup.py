"""From a run's options and its dataset to a task that is ready to train."""

import math
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ..data.dataset import LoadedDataset, make_loaders
from ..data.loader import Batches
from ..metrics import classification, cost
from ..models import build, weights
from ..models.registry import Backbone
from ..spec import RunConfig
from ..training import autotune, checkpoint, device, heartbeat, recipes
from ..training.cpu_kernels import move_to
from ..training.evaluate import evaluate
from ..training.task import Task, Validate
from ..transfer.features import set_head
from . import provenance, results
from .config import check_unchanged, choose_metric, list_changes, model_config, static_config, steps_per_epoch
from .groups import group_indices
from .head_start import Head, probe_head


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A run that is ready to train."""

    config: RunConfig
    dataset: LoadedDataset
    backbone: Backbone
    state: dict[str, Any] | None  # pretrained weights; None: random ones
    task: Task
    loaders: dict[str, Batches]  # of train, val and test
    settings: dict[str, Any]  # as in `config.json`
    head: Head | None = None  # the initial one; None: random
    head_seconds: float = 0.0  # to compute it
    saved: dict[str, Any] | None = None  # the checkpoint to resume from

    @property
    def main_process(self) -> bool:
        return self.task.accelerator.is_main_process

    @property
    def search_seconds(self) -> float:
        """Of the initial head, the trials of a recipe search and the images' orientation, in this run or cached from an earlier one."""
        trials, orientation = self.settings["recipe_search"] or [], self.settings["orientation"] or {}
        return self.head_seconds + sum(trial["seconds"] for trial in trials) + orientation.get("seconds", 0.0)

    @property
    def checkpoints(self) -> checkpoint.CheckpointConfig:
        every = self.config.save_every or recipes.save_every(self.task.recipe)
        return checkpoint.CheckpointConfig(folder=self.config.out, every=every, write=self.main_process)


def build_setup(config: RunConfig, backbone: Backbone, dataset: LoadedDataset) -> Setup:
    """The device, the network, the loaders and the recipe of a run.

    Raises:
        UserError: a device, weights or a batch size is not available.
    """
    n_classes = len(dataset.samples.classes)
    recipe = recipes.from_config(config, backbone, steps_per_epoch(config, dataset))
    recipe = recipes.for_split(recipe, config, n_classes, len(dataset.split.train), len(dataset.split.val))
    speed = _speed(config, backbone, n_classes, recipe.steps)
    accelerator = device.make_accelerator(config.device, speed.precision, backbone.cpu_bf16, config.micro_batches)
    state, weights_sha256 = weights.load_weights(backbone, config.weights, config.offline)
    loaders = make_loaders(config, dataset, speed.channels_last, accelerator)
    precision = accelerator.mixed_precision.replace("no", "fp32")
    head, begin = None, time.perf_counter()
    if recipe.head_start == "probe":
        head = _probe_head(config, backbone, dataset, state, loaders["train"], precision)
    head_seconds = time.perf_counter() - begin
    net = create_net(config, backbone, n_classes, state, head)
    previous = _previous(config)
    selection = loaders[recipe.choose_on]  # val; test with `--protocol paper`, as every result records
    metric, source = choose_metric(config, dataset), recipes.source(config, backbone)
    settings = {
        **static_config(config, backbone, recipe, dataset),
        **model_config(config, net, dataset.preprocess.size, weights_sha256, accelerator.device, precision),
        "metric": metric,
        "recipe_source": source,
        "rate_evidence": asdict(recipes.measured_lr(backbone)) if source in ("measured", "taken_over") else None,
        "recipe_search": previous.get("recipe_search"),
        "orientation": previous.get("orientation"),
        "processes": accelerator.num_processes,
        "memory_format": "channels_last" if speed.channels_last else "contiguous",
        "compiled": speed.compile_mode is not None,
        "compile_mode": speed.compile_mode,
        "changed": [],
    }
    task = Task(
        net=net,
        head=backbone.head,
        train=loaders["train"],
        augment=config.dataset.augment,
        validate=_validation(config, recipe.choose_on, selection, metric, accelerator),
        evaluate_first=head is not None,
        n_selection=classification.effective_sample_size(metric, selection.labels),
        recipe=recipe,
        accelerator=accelerator,
        seed=config.seed,
    )
    return Setup(
        config=config,
        dataset=dataset,
        backbone=backbone,
        state=state,
        task=task,
        loaders=loaders,
        settings=settings,
        head=head,
        head_seconds=head_seconds,
    )


def _probe_head(
    config: RunConfig,
    backbone: Backbone,
    dataset: LoadedDataset,
    state: dict[str, Any] | None,
    train: Batches,
    precision: str,
) -> Head:
    """The initial head, from the features of the network before its first step."""
    n_classes = len(dataset.samples.classes)
    groups = group_indices(dataset.samples, dataset.split.train)
    net = create_net(config, backbone, n_classes, state, None)
    return probe_head(net, backbone, train, n_classes, groups, precision, config.seed)


def create_net(
    config: RunConfig, backbone: Backbone, n_classes: int, state: dict[str, Any] | None, head: Head | None
) -> nn.Module:
    """The network before its first step, with the same random weights at every call."""
    torch.manual_seed(config.seed)
    net = build.create_model(backbone, n_classes, state, size=config.image_size)
    if head:
        set_head(net, backbone.head, *head)
    return net


def _speed(config: RunConfig, backbone: Backbone, n_classes: int, steps: int) -> device.Speed:
    """As configured; with `--tune` the fastest for a run of `steps` steps."""
    if not config.tune:
        return device.Speed(precision=config.precision, compile_mode="default" if config.compile else None)
    torch_device = device.find(config.device)
    return autotune.tune(
        build=partial(build.create_model, backbone, n_classes, None, size=config.image_size),
        name=backbone.name,
        device=torch_device,
        machine=provenance.device_name(torch_device),
        precision=config.precision,
        steps=autotune.TrainingSteps(steps, config.micro_batches, (config.forward_size, 3, *config.image_size)),
    )


def _validation(config: RunConfig, part: str, selection: Batches, metric: str, accelerator: Accelerator) -> Validate:
    touch = heartbeat.keep_alive(config.out)

    def validate(net: nn.Module) -> tuple[float, dict[str, float]]:
        logits = evaluate(net, selection, accelerator, touch)
        if not np.isfinite(logits).all():
            return math.nan, {}
        scores = classification.score(logits, selection.labels)
        return scores[metric], {f"{part}_{name}": value for name, value in scores.items()}

    return validate


def resume(setup: Setup) -> Setup:
    """The setup with the newest checkpoint of its run folder.

    Raises:
        UserError: the folder holds a run with other settings, or a checkpoint that cannot be read.
    """
    config = setup.config
    previous = _previous(config)
    check_unchanged(config, previous, setup.settings)
    saved = checkpoint.load(config.out, best=config.resume == "best")
    step = saved["progress"]["step"] if saved else 0
    changed = list_changes(config, previous, setup.settings, step)
    return replace(setup, saved=saved, settings=setup.settings | {"changed": changed})


def _previous(config: RunConfig) -> dict[str, Any]:
    """The settings that a resumed run was started with; none for a new run."""
    return results.read_json(config.out / results.CONFIG) if config.resume else {}


def to_device(setup: Setup) -> None:
    """Move the network to its device, compiled if configured; peak memory counts from here."""
    task = setup.task
    move_to(task.net, task.accelerator.device, task.train.memory_format)
    if mode := setup.settings["compile_mode"]:
        task.net.compile(mode=mode, dynamic=False)
    cost.reset_peak_memory(task.accelerator.device)
