"""Initialisation and head that several of the networks share."""

from collections import OrderedDict

from torch import nn

CLASSES = 10  # of CIFAR-10; `build.create_model` replaces the head


def initialise(net: nn.Module) -> None:
    """Convolutions as He et al. (arXiv 1502.01852) for ReLU, by the fan out; the rest stays torch's default.

    As in the reference.
    """
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


def network(features: nn.Module, width: int) -> nn.Sequential:
    """(B, 3, H, W) -> `features` (B, width, h, w) -> their mean over pixels -> logits; initialised."""
    parts = {
        "features": features,
        "pool": nn.AdaptiveAvgPool2d(1),
        "flatten": nn.Flatten(),
        "head": nn.Linear(width, CLASSES),
    }
    net = nn.Sequential(OrderedDict(parts))
    initialise(net)
    return net
