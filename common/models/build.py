"""From a name to a backbone, and from a backbone to a network."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from . import library_rows, names
from .pretrained import load_pretrained
from .registry import Backbone
from .state_dict import note

if TYPE_CHECKING:
    from torch import nn


@cache
def get_backbone(name: str) -> Backbone:
    """The backbone of a name of the table, of `timm:NAME`, `torchvision:NAME`, or another spelling of these.

    `NAME=FILE` has the weights of a file, which need not exist here.

    Raises:
        UserError: unknown; suggests the nearest name.
    """
    name, separator, path = name.partition("=")
    if separator:
        row = get_backbone(name)
        return replace(
            row,
            name=f"{row.name}={path}",
            weights=f"file:{path}",
            enum="",
            sha256=None,
            top1=None,
            pretrained_on=Path(path).name,
            aliases=(),
        )
    known = names.resolve(name)
    if known.startswith("timm:"):
        return library_rows.timm_row(known)
    if known.startswith("torchvision:"):
        return library_rows.torchvision_row(known)
    return names.rows()[known]


def check_name(name: str) -> None:
    """`get_backbone` without the libraries' metadata, which take seconds to import.

    Raises:
        UserError: unknown, or no such file of weights; suggests the nearest name.
    """
    name, separator, path = name.partition("=")
    if separator and not Path(path).expanduser().is_file():
        raise UserError(f"-model {name}=FILE: no weights file {path!r}")
    known = names.resolve(name)
    if known != name:
        note(f"-model {name}: using {known}")


def check_size(backbone: Backbone, size: tuple[int, int]) -> None:
    """Raises: UserError: images of (H, W) pixels are not supported; suggests a size."""
    if not (backbone.fixed_size and backbone.library == "timm") or size == (backbone.size, backbone.size):
        backbone.check_size(size)
        return
    import torch

    try:
        _create(backbone, size).to("meta")(torch.empty(2, 3, *size, device="meta"))
    except Exception as error:  # every network raises another error
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{backbone.name} does not accept images of {size[0]}x{size[1]} pixels (timm: {reason}): "
            f"pass --image_size {backbone.size}"
        ) from None


def create_model(
    backbone: Backbone,
    num_classes: int,
    state_dict: dict | None,
    keep_head: bool = False,
    size: tuple[int, int] | None = None,
) -> "nn.Module":
    """The network with weights (None: random) and a new head of `num_classes` outputs.

    With `keep_head` the head's weights come from `state_dict`, too. `size`: (H, W) in pixels of its images, for networks
    of a fixed size; None: that of the backbone.

    Raises:
        UserError: weights of another architecture.
    """
    from torch import nn

    net = _create(backbone, size)
    head = net.get_submodule(backbone.head)
    if isinstance(head, nn.Linear):
        net.set_submodule(backbone.head, nn.Linear(head.in_features, num_classes))
    elif backbone.library == "torchvision":  # SqueezeNet
        head = nn.Conv2d(head.in_channels, num_classes, 1)
        nn.init.normal_(head.weight, std=0.01)
        nn.init.zeros_(head.bias)
        net.set_submodule(backbone.head, head)
    else:  # timm's networks without a head, or with a convolution as head
        net.reset_classifier(num_classes)
    if state_dict is not None:
        load_pretrained(net, backbone, state_dict, keep_head)
    return net


def library_args(backbone: Backbone, size: tuple[int, int] | None) -> dict[str, object]:
    """The arguments, beside name and classes, with which timm or torchvision builds the network for images of (H, W) pixels."""
    if backbone.library == "torchvision":
        return library_rows.torchvision_args(backbone.arch)
    config: dict[str, object] = {}
    if backbone.arch.startswith("repvit"):
        config["distillation"] = False  # one head, see its row
    if backbone.fixed_size and size not in (None, (backbone.size, backbone.size)):
        config["img_size"] = size
    return config


def _create(backbone: Backbone, size: tuple[int, int] | None) -> "nn.Module":
    """The network as its library builds it, random, with any number of outputs."""
    if backbone.library == "torchvision":
        return library_rows.create_torchvision(backbone.arch)
    if backbone.library == "timm":
        import timm

        return timm.create_model(backbone.arch, pretrained=False, **library_args(backbone, size))
    if backbone.library == "cifar":
        from . import cifar

        return getattr(cifar, backbone.arch)()
    from .wavemix import wavemix
    from .wavemix_package import reference_wavemix

    return reference_wavemix() if backbone.library == "wavemix_package" else wavemix()
