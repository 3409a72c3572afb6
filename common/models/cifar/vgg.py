"""VGG: Simonyan & Zisserman, arXiv 1409.1556, Table 1, columns A (11 layers) and E (19), for 32 x 32 pixels.

The convolutions are the paper's; its three wide linear layers (and their dropout) are replaced by one: five
poolings leave one pixel of 512 channels. The 19 layers have batch norm, which is newer than the paper, and so
their convolutions have no bias, which the norm would cancel.
"""

from torch import nn
from torchvision.models.vgg import cfgs, make_layers

from .parts import network


def vgg11() -> nn.Module:
    return network(make_layers(cfgs["A"]), 512)


def vgg19_bn() -> nn.Module:
    features = make_layers(cfgs["E"], batch_norm=True)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            layer.bias = None
    return network(features, 512)
