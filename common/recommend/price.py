"""What a backbone costs on this machine: parameters, MACs, a training step. Measured once, then cached."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial

import torch
from torch import nn

from ..files.disk_cache import load, store
from ..metrics import cost
from ..models import build
from ..models.registry import Backbone
from ..spec import Speed
from ..training import recipes
from ..training.autotune import step_times
from ..training.device import is_out_of_memory

FORM = 2  # of what is measured: one more makes older prices void


@dataclass(frozen=True)
class Price:
    parameters: int
    macs: int  # of an image
    step_seconds: (
        float | None
    )  # of a training step; None: no time to measure it, or the memory does not suffice
    peak_memory_bytes: int | None  # while training: allocated on the GPU, or resident in this process


def price(
    row: Backbone,
    classes: int,
    size: tuple[int, int],
    batch_size: int,
    device: torch.device,
    machine: str,
    precision: str,
    measured: bool,
) -> Price:
    """At images of (H, W) pixels; `machine` is the device's name, `precision` fp32, bf16 or fp16.

    Without `measured`, a step's time and memory are told only if they are remembered.
    """
    about = {
        "form": FORM,
        "network": (row.library, row.arch, row.head, classes),
        "batch": (batch_size, *size),
        "machine": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
    }
    make = partial(build.create_model, row, classes, None)
    if figures := load("prices", about):
        return Price(**figures)
    found = _measure(make, size, batch_size, device, precision) if measured else _price(make, size)
    if found.step_seconds is not None:  # the memory may suffice another time
        store("prices", about, asdict(found))
    return found


def training_seconds(
    price: Price, images_per_second: float, train: int, val: int, batch_size: int
) -> float | None:
    """Of one run by the default recipe: its steps, and a look at validation after every epoch."""
    if price.step_seconds is None:
        return None
    steps = max(1, train // batch_size)
    return recipes.default_epochs(steps) * (steps * price.step_seconds + val / images_per_second)


def _price(build: Callable[[], nn.Module], size: tuple[int, int]) -> Price:
    """What is known without measuring."""
    net = build()
    return Price(cost.parameters(net), cost.macs(net, size), None, None)


def _measure(
    build: Callable[[], nn.Module],
    size: tuple[int, int],
    batch_size: int,
    device: torch.device,
    precision: str,
) -> Price:
    plain = _price(build, size)
    cost.reset_peak_memory(device)
    try:
        took = step_times(build, device, (batch_size, 3, *size), Speed(precision=precision))
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return plain
    return replace(plain, step_seconds=took["step_seconds"], peak_memory_bytes=cost.peak_memory(device))
