"""SE-ResNet: Hu et al., arXiv 1709.01507, Figure 3 and Table 1, around the ResNet-18 for 32 x 32 pixels.

Squeeze and excitation after the last norm of a block, before the sum, reduced 16 times as in the paper: to 4,
8, 16, 32 channels. (timm's default would round the narrowest up to 8.) Its two layers are 1x1 convolutions
and initialised as such; in the reference they are linear layers with torch's initialisation.
"""

from functools import partial

from timm.layers import SEModule
from timm.models.resnet import BasicBlock
from torch import nn

from .resnet import small_stem


def se_resnet18() -> nn.Module:
    return small_stem(
        BasicBlock, (2, 2, 2, 2), block_args={"attn_layer": partial(SEModule, rd_ratio=1 / 16, rd_divisor=1)}
    )
