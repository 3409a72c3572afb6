"""CBAM-ResNet: Woo et al., arXiv 1807.06521, Figures 1 and 3, around the ResNet-18 for 32 x 32 pixels.

Channel attention, then spatial attention after the last norm of a block, before the sum: channels reduced 16 times,
one 7x7 convolution over positions. As in equation 3 that convolution has a bias and no norm; in the authors' code
and in timm it has a norm and no bias.
"""

from timm.layers.cbam import CbamModule
from timm.models.resnet import BasicBlock
from torch import nn

from .resnet import small_stem


def attention(channels: int, **device: object) -> nn.Module:
    module = CbamModule(channels, rd_ratio=1 / 16, mlp_bias=True, **device)
    module.spatial.conv = nn.Conv2d(2, 1, 7, padding=3, **device)
    return module


def cbam_resnet18() -> nn.Module:
    return small_stem(BasicBlock, (2, 2, 2, 2), block_args={"attn_layer": attention})
