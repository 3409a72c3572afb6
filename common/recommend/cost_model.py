"""The cost of training a backbone on this machine: parameters, MACs, step time, memory. Measured once, then cached."""

from dataclasses import asdict, dataclass
from functools import partial

import torch

from ..files import disk_cache
from ..metrics import cost
from ..models import build
from ..models.registry import Backbone
from ..spec import Recipe, RunConfig
from ..training import recipes, search_budget
from ..training.autotune import Timing, step_times
from ..training.device import Speed, is_out_of_memory

CPU_IMAGES = 8  # of a measured step at most: on a CPU its time and memory are proportional to the images (LOG.md)
TIMING = Timing(warmup=1, min_steps=2, max_seconds=1.0)
STATE_BYTES = 16  # per parameter, for any number of images: float32 weight, gradient and two moments of AdamW
FORMAT = 5  # of the cached figures; increase it to invalidate older ones


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Training steps of a backbone on a device."""

    row: Backbone
    classes: int
    batch_size: int
    image_size: tuple[int, int]  # (H, W) in pixels
    device: torch.device
    device_name: str
    precision: str  # fp32, bf16 or fp16


@dataclass(frozen=True)
class Cost:
    parameters: int
    macs: int  # of an image
    step_seconds: float | None  # of a training step; None: not measured, or out of memory
    peak_memory_bytes: int | None  # while training: allocated on the GPU, or resident in this process


def estimate(workload: Workload, measure: bool) -> Cost:
    """From the cache, or measured; without `measure`, time and memory of a step that is not cached are None."""
    key = {
        "form": FORMAT,
        "network": (workload.row.library, workload.row.arch, workload.row.head, workload.classes),
        "batch": (workload.batch_size, *workload.image_size),
        "machine": workload.device_name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": workload.precision,
    }
    if figures := disk_cache.load("prices", key):
        return Cost(**figures)
    measured = _estimate(workload, measure)
    if measured.step_seconds is not None:  # the memory may suffice another time
        disk_cache.store("prices", key, asdict(measured))
    return measured


def default_recipe(run: RunConfig, classes: int, n_train: int, n_val: int) -> Recipe:
    """Without steps where there are too few images to fine-tune."""
    recipe = recipes.from_config(run, build.get_backbone(run.model), max(1, n_train // run.batch_size))
    return recipes.for_split(recipe, run, classes, n_train, n_val)


def training_seconds(
    run: RunConfig, recipe: Recipe, cost: Cost, start: float, n_val: int, images_per_second: float
) -> float | None:
    """Of one run: the start of its head (seconds), its steps, its evaluations on validation, and what a search for its rate may cost."""
    if recipe.steps and cost.step_seconds is None:
        return None
    searched = search_budget.is_expected(run, build.get_backbone(run.model), recipe, n_val)
    steps = recipe.steps * (1 + search_budget.MAX_COST * searched)
    n_evaluations = 1 + recipe.steps // recipe.eval_every
    return start + steps * (cost.step_seconds or 0.0) + n_evaluations * n_val / images_per_second


def _estimate(workload: Workload, measure: bool) -> Cost:
    make = partial(build.create_model, workload.row, workload.classes, None, size=workload.image_size)
    network = make()
    static = (cost.parameters(network), cost.macs(network, workload.image_size))
    if not measure:
        return Cost(*static, None, None)
    images = workload.batch_size
    if workload.device.type == "cpu":
        images = min(images, CPU_IMAGES)
    batch, scale = (images, 3, *workload.image_size), workload.batch_size / images
    cost.reset_peak_memory(workload.device)
    before = cost.peak_memory(workload.device)
    try:
        times = step_times(make, workload.device, batch, Speed(precision=workload.precision), TIMING)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return Cost(*static, None, None)
    added = cost.peak_memory(workload.device) - before
    state = min(added, STATE_BYTES * static[0])
    peak = before + state + round(scale * (added - state))
    return Cost(*static, scale * times["step_seconds"], peak)
