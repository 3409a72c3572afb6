"""MobileNet (v1): Howard et al., arXiv 1704.04861, Table 1 at full width, for 32 x 32 pixels.

A 3x3 convolution per channel, then a 1x1 across channels, each with norm and ReLU. The stem's stride is 1,
not 2, so 16 pixels become one. The last pair's stride is 1: the table's 2 contradicts its sizes.
"""

from torch import nn
from torchvision.ops import Conv2dNormActivation

from .parts import network

# (output channels, stride) of the pairs
PAIRS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *5 * ((512, 1),), (1024, 2), (1024, 1))


def mobilenet() -> nn.Module:
    layers = [Conv2dNormActivation(3, 32, 3)]
    inputs = 32
    for outputs, stride in PAIRS:
        layers += [
            Conv2dNormActivation(inputs, inputs, 3, stride, groups=inputs),
            Conv2dNormActivation(inputs, outputs, 1),
        ]
        inputs = outputs
    return network(nn.Sequential(*layers), inputs)
