"""Backbones that the table lacks, from the metadata of timm and torchvision; torchvision's networks."""

import re
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import HALF, Backbone

if TYPE_CHECKING:
    from torch import nn

LR = 3e-4  # safe for most; not measured
ATTENTION = ("vit", "swin", "maxvit", "convnext")  # torchvision's networks that use Adam from scratch
HALF_INPUTS = ("inception_v3", "googlenet")  # torchvision converts their input to mean = std = 0.5


def timm_row(name: str) -> Backbone:
    """`timm:NAME`, with or without a tag of its weights.

    Raises:
        UserError: no such tag, or a network without a single linear head.
    """
    import timm

    arch = name.removeprefix("timm:")
    try:
        cfg = timm.get_pretrained_cfg(arch)
    except RuntimeError:  # an unknown tag
        tags = ", ".join(n.partition(".")[2] for n in timm.list_pretrained(f"{arch.split('.')[0]}.*"))
        raise UserError(f"timm has no weights {arch!r}: it has {tags}") from None
    if not isinstance(cfg.classifier, str):
        raise UserError(f"{name} has no single linear head (in timm: {cfg.classifier!r}): use another backbone")
    return Backbone(
        name=name,
        library="timm",
        arch=arch,
        head=cfg.classifier,
        params=None,
        top1=None,
        weights=f"hf:{cfg.hf_hub_id}" if cfg.hf_hub_id else cfg.url or "",
        size=cfg.input_size[1],
        crop=cfg.crop_pct,
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        mean=cfg.mean,
        std=cfg.std,
        min_size=1,
        fixed_size=cfg.fixed_input_size,
        lr=LR,
        cpu_bf16=False,
        pretrained_on=cfg.tag,
    )


def torchvision_row(name: str) -> Backbone:
    """`torchvision:NAME` with the weights that torchvision calls its default."""
    import torch
    from torchvision import models

    arch = name.removeprefix("torchvision:")
    weights = models.get_model_weights(arch).DEFAULT
    crop, min_size = weights.transforms(), max(weights.meta["min_size"])
    size = crop.crop_size[0]
    try:
        with torch.device("meta"):  # shapes are enough
            net = create_torchvision(arch).eval()
    except NotImplementedError:  # RegNet computes its widths with tensors
        net = create_torchvision(arch).eval().to("meta")
    return Backbone(
        name=name,
        library="torchvision",
        arch=arch,
        head=_find_head(net),
        params=sum(parameter.numel() for parameter in net.parameters()),
        top1=round(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5),
        weights=weights.url,
        enum=weights.name,
        sha256=re.search(r"-([0-9a-f]+)\.pth$", weights.url)[1],
        size=size,
        crop=size / crop.resize_size[0],
        interpolation=crop.interpolation.value,
        **(HALF if arch in HALF_INPUTS else {"mean": tuple(crop.mean), "std": tuple(crop.std)}),
        min_size=32 if min_size >= size else max(32, min_size),  # Swin states the size of its training
        fixed_size=not _accepts(net, size + 64),
        lr=LR,
        scratch="adam" if arch.startswith(ATTENTION) else "sgd",
        cpu_bf16=False,
        pretrained_on="ImageNet-1k" if "SWAG" not in weights.name else "SWAG, ImageNet-1k",
    )


def create_torchvision(arch: str) -> "nn.Module":
    """torchvision's network, random, without auxiliary heads and with a linear one."""
    import torchvision
    from torch import nn

    net = torchvision.models.get_model(arch, weights=None, **torchvision_args(arch))
    if arch.startswith("squeezenet"):
        net.classifier[2] = nn.Identity()  # a ReLU of the logits
    return net


def torchvision_args(arch: str) -> dict[str, object]:
    """The arguments that omit auxiliary heads."""
    # their slow initialisation would be overwritten or, from scratch, is no better than the default
    config = {"aux_logits": False, "transform_input": False, "init_weights": False}
    return config if arch in HALF_INPUTS else {}


def _find_head(net: "nn.Module") -> str:
    """The last layer with an output per class, linear or a convolution."""
    from torch import nn

    layers = (nn.Linear, nn.Conv2d)
    return [name for name, m in net.named_modules() if isinstance(m, layers) and m.weight.shape[0] == 1000][-1]


def _accepts(net: "nn.Module", side: int) -> bool:
    import torch

    try:
        net(torch.empty(1, 3, side, side, device="meta"))
    except Exception:  # every network raises another error
        return False
    return True
