"""A network on its device, with other ways around what torch's CPU kernels do badly."""

from types import MethodType

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def move_to(net: nn.Module, device: torch.device, memory_format: torch.memory_format) -> None:
    """Move a network to where it trains. On a CPU two kinds of convolution are computed otherwise."""
    net.to(device, memory_format=memory_format)
    if device.type != "cpu":
        return
    for part in net.modules():
        if isinstance(part, nn.Conv2d) and max(part.stride) > 1:
            if part.groups == part.in_channels > 1:
                part.forward = MethodType(_in_float32, part)  # a method goes along when a network is copied
            elif (
                part.kernel_size == (1, 1)
                and part.in_channels < 16
                and (part.padding, part.groups) == ((0, 0), 1)
            ):
                part.forward = MethodType(_of_every_other_pixel, part)


def _in_float32(self: nn.Conv2d, images: Tensor) -> Tensor:
    """Depthwise and strided: oneDNN's bfloat16 kernel loses in the backward pass all that bfloat16 wins elsewhere."""
    if not torch.is_autocast_enabled("cpu"):
        return type(self).forward(self, images)
    with torch.autocast("cpu", enabled=False):
        return type(self).forward(self, images.float())


def _of_every_other_pixel(self: nn.Conv2d, images: Tensor) -> Tensor:
    """1 x 1, strided, of few channels, such as in FastViT's stem: in float32 and channels last the backward pass of
    torch 2.14's oneDNN (3.12) writes where it should not, and the process dies."""
    down, across = self.stride
    return F.conv2d(images[:, :, ::down, ::across], self.weight, self.bias)
