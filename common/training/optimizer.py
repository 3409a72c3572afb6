"""The optimizer of a phase, and the schedule of its learning rate."""

import math
from collections.abc import Iterator

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ..spec import Phase

SEQUENCES = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


def optimizer_and_schedule(net: nn.Module, head: str, phase: Phase) -> tuple[torch.optim.Optimizer, LambdaLR]:
    optimizer = _optimizer(net, head, phase)
    return optimizer, LambdaLR(optimizer, lambda step: lr_factor(phase, step))


def _optimizer(net: nn.Module, head: str, phase: Phase) -> torch.optim.Optimizer:
    """Parameter groups: one for each learning rate, with and without weight decay.

    Norms, layer scales and biases have none, unless `phase.decay_all`.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    scales = _lr_scales(net, head, phase)
    for name, parameter in net.named_parameters():
        decayed = phase.decay_all or (parameter.squeeze().ndim > 1 and "bias" not in name)
        groups.setdefault((scales[name], decayed), []).append(parameter)
    param_groups = [
        {"params": parameters, "lr": phase.lr * scale, "weight_decay": phase.weight_decay if decayed else 0.0}
        for (scale, decayed), parameters in groups.items()
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(param_groups, lr=phase.lr, momentum=0.9, fused=True)
    optimizer = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[phase.optimizer]
    return optimizer(param_groups, lr=phase.lr, fused=True)


def _lr_scales(net: nn.Module, head: str, phase: Phase) -> dict[str, float]:
    """The learning rate of every parameter, as a multiple of the phase's: `layer_decay` per layer below the head.

    Layer-wise decay: Bao et al. 2022, arXiv 2106.08254, appendix H.
    """
    layers = list(_layers(net))
    after_head = layers.index(head) + 1 if head in layers else 0
    layers = layers[after_head:] + layers[:after_head]  # WaveMix has its stem after its head
    depth = {
        f"{layer}.{name}": phase.layer_decay ** (len(layers) - 1 - i)
        for i, layer in enumerate(layers)
        for name, _ in net.get_submodule(layer).named_parameters()
    }
    return {
        name: phase.head_lr if name.startswith(f"{head}.") else depth.get(name, min(depth.values()))
        for name, _ in net.named_parameters()
    }


def _layers(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """The names of a network's blocks with parameters, from the input to the head: sequences and stages are opened, blocks are not."""
    for name, child in module.named_children():
        if isinstance(child, SEQUENCES) or _is_stage(child):
            yield from _layers(child, f"{prefix}{name}.")
        elif any(True for _ in child.parameters()):
            yield f"{prefix}{name}"


def _is_stage(module: nn.Module) -> bool:
    """Whether blocks of one class follow each other in it, as in timm's ConvNeXt stages and torchvision's ViT encoder."""
    sequences = [each for each in (module, *module.children()) if isinstance(each, SEQUENCES)]
    return any(
        len(blocks := list(sequence.children())) > 1
        and len({type(block) for block in blocks}) == 1
        and not isinstance(blocks[0], nn.Sequential)
        and any(True for _ in blocks[0].children())
        for sequence in sequences
    )


def lr_factor(phase: Phase, step: int) -> float:
    """The learning rate at a step of a phase, as a fraction of `phase.lr`."""
    warmup = math.ceil(phase.warmup * phase.steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if phase.schedule == "constant":
        return 1.0
    done = (step - warmup) / max(1, phase.steps - warmup)
    return phase.floor + (1 - phase.floor) * 0.5 * (1 + math.cos(math.pi * done))
