"""ResNet: He et al., arXiv 1512.03385, Table 1, column 18-layer, for 32 x 32 pixels.

timm's network behind a small stem: one 3x3 convolution of stride 1 and no pooling, where ImageNet's has 7x7,
stride 2 and a max-pool. (The paper's own CIFAR networks, section 4.2, are narrower.) Shortcuts are projected
where the shape changes (option B). The last norm of a block starts at 1, not at timm's 0.
"""

from timm.models.resnet import BasicBlock, ResNet
from torch import nn

from .parts import CLASSES, initialise


def small_stem(*args: object, **config: object) -> ResNet:
    """timm's ResNet of these arguments with the stem for 32 x 32 pixels, initialised."""
    net = ResNet(*args, num_classes=CLASSES, zero_init_last=False, **config)
    net.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    net.maxpool = nn.Identity()
    initialise(net)
    return net


def resnet18() -> nn.Module:
    return small_stem(BasicBlock, (2, 2, 2, 2))
