"""A network on its device, with replacements for some of torch's CPU kernels."""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def move_to(net: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    """Move a network to a device. On a CPU two kinds of convolutions get another implementation."""
    net.to(device, memory_format=memory_format)
    if device.type != "cpu":
        return
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and max(module.stride) > 1:
            if module.groups == module.in_channels > 1:
                module.forward = MethodType(_in_float32, module)  # a bound method survives deepcopy
            elif (
                module.kernel_size == (1, 1)
                and module.in_channels < 16
                and (module.padding, module.groups) == ((0, 0), 1)
            ):
                module.forward = MethodType(_strided_pointwise, module)


def _in_float32(self: nn.Conv2d, images: Tensor) -> Tensor:
    """Depthwise and strided: oneDNN's bfloat16 backward pass costs more than bfloat16 saves elsewhere."""
    if not torch.is_autocast_enabled("cpu"):
        return type(self).forward(self, images)
    with torch.autocast("cpu", enabled=False):
        return type(self).forward(self, images.float())


def _strided_pointwise(self: nn.Conv2d, images: Tensor) -> Tensor:
    """1 x 1, strided, few channels, as in FastViT's stem: in float32 and channels last the backward pass of torch 2.14's
    oneDNN (3.12) writes out of bounds and the process dies."""
    down, across = self.stride
    return F.conv2d(images[:, :, ::down, ::across], self.weight, self.bias)
