"""ShuffleNet (v1): Zhang et al., arXiv 1707.01083, Table 1, width 1x, 8 groups, for 32 x 32 pixels.

The units are those of its Figure 2 (b) and (c). The stem's stride is 1 and no pooling follows. The first 1x1
convolution has no groups, since its input has 24 channels only (section 3.3).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import Conv2dNormActivation

from .parts import network

GROUPS = 8
STEM = 24
STAGES = ((384, 4), (768, 8), (1536, 4))  # (output channels, units); the first unit halves the image


def shuffle(x: Tensor) -> Tensor:
    """(B, C, H, W): spread the channels of a group over all groups of the next convolution."""
    return x.unflatten(1, (GROUPS, -1)).transpose(1, 2).flatten(1, 2)


class ShuffleUnit(nn.Module):
    """(B, inputs, H, W) -> (B, outputs, H, W), with H and W halved if `inputs < outputs`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.downsample = inputs < outputs
        stride = 2 if self.downsample else 1
        middle = outputs // 4
        new = outputs - inputs if self.downsample else outputs  # the rest is the pooled input
        self.squeeze = Conv2dNormActivation(inputs, middle, 1, groups=1 if inputs == STEM else GROUPS)
        self.depthwise = Conv2dNormActivation(middle, middle, 3, stride, groups=middle, activation_layer=None)
        self.expand = Conv2dNormActivation(middle, new, 1, groups=GROUPS, activation_layer=None)

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(self.depthwise(shuffle(self.squeeze(x))))
        if self.downsample:
            return F.relu(torch.cat((y, F.avg_pool2d(x, 3, stride=2, padding=1)), dim=1))
        return F.relu(y + x)


def shufflenet_g8() -> nn.Module:
    layers: list[nn.Module] = [Conv2dNormActivation(3, STEM, 3)]
    inputs = STEM
    for outputs, units in STAGES:
        layers += [ShuffleUnit(inputs, outputs), *(ShuffleUnit(outputs, outputs) for _ in range(units - 1))]
        inputs = outputs
    return network(nn.Sequential(*layers), inputs)
