"""A training step on a device without data: nothing waits for it, and few kernels are launched beside the network's."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator
from tiny import batches, net, recipe, task
from torch import nn
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from common.data import loader
from common.data.augment import augment
from common.spec import Augment, Recipe
from common.training import train_state
from common.training.device import make_accelerator
from common.training.task import Task
from common.training.train_state import TrainState
from common.training.train_step import train_step

DEVICE = torch.device("meta")  # it raises where a GPU would be waited for: .item(), .cpu(), nonzero, boolean masks
PARTS = {"ema_decay": 0.9, "mixup_alpha": 0.2, "class_weights": True, "label_smoothing": 0.1}
CROP_FLIP = Augment(crop=0.5, flip=True)
NO_KERNEL = ("empty", "new_empty", "new_empty_strided", "split", "_record_function_enter_new", "_record_function_exit")


class Kernels(TorchDispatchMode):
    """Counts operators that launch kernels on the device; a copy from the host for which a GPU is waited for fails."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        result, name = operator(*args, **(kwargs or {})), operator.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs, result)) if isinstance(leaf, torch.Tensor)]
        if any(tensor.device == DEVICE for tensor in tensors):
            self.count += not operator.is_view and name not in NO_KERNEL
            if name in ("_to_copy", "copy_") and any(tensor.device != DEVICE for tensor in tensors):
                assert (kwargs or {}).get("non_blocking") or args[2:] == (True,), "waits for a copy from the host"
        return result


def kernels(function: Callable[[], object]) -> int:
    with Kernels() as found:
        function()
    return found.count


@pytest.fixture(autouse=True)
def _device_without_data(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator
    monkeypatch.setattr(Accelerator, "device", DEVICE)
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: ["meta"])
    monkeypatch.setattr(torch, "Generator", lambda device=None: generator())  # timm's EMA has one on its device


def started(
    net: nn.Module,
    recipe: Recipe,
    batch_size: int = 8,
    resident: bool = True,
    augment: Augment = CROP_FLIP,
    head: str = "4",
) -> tuple[Task, TrainState]:
    """A task and its state after the first step, which sets up."""
    train = replace(batches(batch_size * 3, batch_size, micro_batches=2), device=DEVICE)
    if resident:
        train = replace(train, pixels=torch.empty(train.pixels.shape, dtype=torch.uint8, device=DEVICE))
    accelerator = make_accelerator("cpu", "fp32", False, train.micro_batches)
    plan = task(net=net.to(DEVICE), head=head, train=train, augment=augment, recipe=recipe, accelerator=accelerator)
    state = train_state.create_state(plan, None, None)
    train_state.start_phase(plan, state, None)
    train_state.set_train_mode(state.model, recipe)
    train_step(plan, state)
    return plan, state


@pytest.mark.parametrize("resident", [True, False])
def test_a_step_waits_for_nothing(resident: bool) -> None:
    plan, state = started(net(), recipe(**PARTS), resident=resident, augment=replace(CROP_FLIP, trivial=True))
    for _ in range(4):  # two epochs
        assert kernels(lambda: train_step(plan, state)) > 0
    assert plan.net[0].weight.device == state.sums.device == DEVICE


def read_pixels(images: torch.Tensor, *rest: object) -> torch.Tensor:
    return images if images.mean() > 0 else -images


def copy_and_wait(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    return tensor.to(device)


@pytest.mark.parametrize(
    ("owner", "name", "fault"), [(augment, "apply", read_pixels), (loader, "to_device", copy_and_wait)]
)
def test_a_step_that_waits_is_found(owner: object, name: str, fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, state = started(net(), recipe())
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises((RuntimeError, AssertionError), match=r"meta tensors|waits for a copy"):
        kernels(lambda: train_step(plan, state))


def deep(layers: int) -> nn.Module:
    blocks = [nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)) for _ in range(layers)]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(192, 2))


def test_the_update_launches_as_many_kernels_whatever_the_depth() -> None:
    counts = []
    for layers in (2, 20):
        plan, state = started(deep(layers), recipe(ema_decay=0.9), head=f"{layers + 1}")
        for parameter in plan.net.parameters():
            parameter.grad = torch.zeros_like(parameter)
        batch_norm_counters = layers
        counts.append(kernels(state.optimizer.step))
        counts.append(kernels(lambda: state.ema.update(plan.net, 5)) - batch_norm_counters)  # noqa: B023
    # a fused kernel and a counter per group, with and without decay; one for the average
    assert counts == [4, 1] * 2


@pytest.mark.parametrize(
    ("kind", "bound"),
    [(Augment(), 6), (CROP_FLIP, 25), (Augment(shift=0.125, flip=True), 29), (replace(CROP_FLIP, trivial=True), 242)],
)
def test_loading_launches_as_many_kernels_whatever_the_batch(kind: Augment, bound: int) -> None:
    for batch_size in (8, 160):
        _, state = started(net(), recipe(), batch_size, augment=kind)
        assert kernels(lambda: next(state.batches)) <= bound  # noqa: B023
