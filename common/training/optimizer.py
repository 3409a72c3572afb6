"""The optimizer of a phase, and the schedule of its learning rate."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ..spec import Phase


def optimizer_and_schedule(net: nn.Module, head: str, phase: Phase) -> tuple[torch.optim.Optimizer, LambdaLR]:
    optimizer = _optimizer(net, head, phase)
    return optimizer, LambdaLR(optimizer, lambda step: lr_factor(phase, step))


def _optimizer(net: nn.Module, head: str, phase: Phase) -> torch.optim.Optimizer:
    """Four parameter groups: body and head, each with and without weight decay.

    Norms, layer scales and biases have none, unless `phase.decay_all`.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        decayed = phase.decay_all or (parameter.squeeze().ndim > 1 and "bias" not in name)
        groups.setdefault((name.startswith(f"{head}."), decayed), []).append(parameter)
    param_groups = [
        {
            "params": parameters,
            "lr": phase.lr * (phase.head_lr if in_head else 1),
            "weight_decay": phase.weight_decay if decayed else 0.0,
        }
        for (in_head, decayed), parameters in groups.items()
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(param_groups, lr=phase.lr, momentum=0.9, fused=True)
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[phase.optimizer]
    return optimizer(param_groups, lr=phase.lr, fused=True)


def lr_factor(phase: Phase, step: int) -> float:
    """The learning rate at a step of a phase, as a fraction of `phase.lr`."""
    warmup = math.ceil(phase.warmup * phase.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, phase.steps - warmup)
    return phase.floor + (1 - phase.floor) * 0.5 * (1 + math.cos(math.pi * done))
