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
    """Parameter groups by learning rate, each with and without weight decay.

    Norms, layer scales and biases have none, unless `phase.decay_all`.
    """
    factors = _lr_factors(net, head, phase)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        decayed = phase.decay_all or (parameter.squeeze().ndim > 1 and "bias" not in name)
        groups.setdefault((factors[name], decayed), []).append(parameter)
    param_groups = [
        {
            "params": parameters,
            "lr": phase.lr * factor,
            "weight_decay": phase.weight_decay if decayed else 0.0,
        }
        for (factor, decayed), parameters in groups.items()
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(param_groups, lr=phase.lr, momentum=0.9, fused=True)
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[phase.optimizer]
    return optimizer(param_groups, lr=phase.lr, fused=True)


def _lr_factors(net: nn.Module, head: str, phase: Phase) -> dict[str, float]:
    """{parameter: its learning rate as a multiple of `phase.lr`}.

    From `stem_lr` at the first convolution to 1 before the head in equal ratios per layer, where a layer is a parameter
    of two or more dimensions with the norms and biases that follow it: layer-wise decay (Bao et al. 2021, arXiv
    2106.08254, appendix) that needs no table of each network's blocks.
    """
    body = [
        (name, parameter.ndim > 1)
        for name, parameter in net.named_parameters()
        if not name.startswith(f"{head}.")
    ]
    last = max(1, sum(starts for _, starts in body) - 1)
    depth, factors = -1, {}
    for name, starts in body:
        depth += starts
        factors[name] = phase.stem_lr ** (1 - max(0, depth) / last)
    return {name: factors.get(name, phase.head_lr) for name, _ in net.named_parameters()}


def lr_factor(phase: Phase, step: int) -> float:
    """The learning rate at a step of a phase, as a fraction of `phase.lr`."""
    warmup = math.ceil(phase.warmup * phase.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, phase.steps - warmup)
    return phase.floor + (1 - phase.floor) * 0.5 * (1 + math.cos(math.pi * done))
