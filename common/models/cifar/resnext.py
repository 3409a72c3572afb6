"""ResNeXt-29: Xie et al., arXiv 1611.05431, section 5.3, three stages of three blocks for 32 x 32 pixels.

The paper trains 8x64d and 16x64d on CIFAR; here are 32x4d, the cardinality of its Table 1, and 2x64d:
bottlenecks of 128 channels in the first stage. A block halves the image in its first 1x1 convolution, as in
the first ResNet; the paper halves it in the 3x3 that follows.
"""

from timm.models.resnet import Bottleneck
from torch import nn

from .resnet import small_stem


def resnext29(cardinality: int, width: int) -> nn.Module:
    net = small_stem(Bottleneck, (3, 3, 3), channels=(64, 128, 256), cardinality=cardinality, base_width=width)
    net.layer4 = nn.Identity()
    for stage in (net.layer2, net.layer3):
        stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
    return net


def resnext29_32x4d() -> nn.Module:
    return resnext29(32, 4)


def resnext29_2x64d() -> nn.Module:
    return resnext29(2, 64)
