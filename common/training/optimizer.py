"""From a phase to its optimizer and the schedule of its rates."""

import math

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ..spec import Phase


def optimizer_and_schedule(net: nn.Module, head: str, phase: Phase) -> tuple[torch.optim.Optimizer, LambdaLR]:
    optimizer = _optimizer(net, head, phase)
    return optimizer, LambdaLR(optimizer, lambda step: factor(phase, step))


def _optimizer(net: nn.Module, head: str, phase: Phase) -> torch.optim.Optimizer:
    """Four groups: body and head, each with and without weight decay (norms, scales and biases may go without)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        decayed = phase.decay_all or (parameter.squeeze().ndim > 1 and "bias" not in name)
        groups.setdefault((name.startswith(f"{head}."), decayed), []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": phase.lr * (phase.head_lr if in_head else 1),
            "weight_decay": phase.weight_decay if decayed else 0.0,
        }
        for (in_head, decayed), parameters in groups.items()
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(options, lr=phase.lr, momentum=0.9, fused=True)
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[phase.optimizer]
    return kind(options, lr=phase.lr, fused=True)


def factor(phase: Phase, step: int) -> float:
    """The rate of a phase's step, as a share of its highest."""
    warmup = math.ceil(phase.warmup * phase.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase.schedule == "constant":
        return 1.0
    way = (step - warmup) / max(1, phase.steps - warmup)
    return phase.floor + (1 - phase.floor) * 0.5 * (1 + math.cos(math.pi * way))
