"""Networks for training from scratch on 32 x 32 pixels, a file per paper.

They follow github.com/xyfJASON/image-backbones-pytorch at acb3469, whose accuracies on CIFAR-10 are the reference;
each file states where that differs from the paper. Other sizes work: all end in a mean over pixels, or resample
their position embeddings.
"""

from .cbam_resnet import cbam_resnet18
from .mobilenet import mobilenet
from .preact_resnet import preact_resnet18
from .resnet import resnet18
from .resnext import resnext29_2x64d, resnext29_32x4d
from .se_resnet import se_resnet18
from .shufflenet import shufflenet_g8
from .vgg import vgg11, vgg19_bn
from .vit import vit_small, vit_tiny

__all__ = [
    "cbam_resnet18",
    "mobilenet",
    "preact_resnet18",
    "resnet18",
    "resnext29_2x64d",
    "resnext29_32x4d",
    "se_resnet18",
    "shufflenet_g8",
    "vgg11",
    "vgg19_bn",
    "vit_small",
    "vit_tiny",
]
