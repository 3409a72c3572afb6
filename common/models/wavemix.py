"""WaveMix, the package's network with faster arithmetic: an image classifier of Haar wavelets instead of attention.

WaveMix: Jeevan et al., arXiv 2205.14375. Clash of Backbones, arXiv 2406.05612, fine-tunes its WaveMix-192/16, the
default here. Layers, initialisation and parameter names are those of the PyPI package, so its published
weights load strictly; any image size of at least one patch works.

Consecutive linear maps are merged by multiplying their weights: the wavelet becomes part of the convolution that
follows it, and two convolutions of the stem become one. The package also computes the first of three levels three
times, which is not repeated here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .wavemix_package import reference_wavemix


def wavemix(**config: object) -> nn.Module:
    """(B, 3, H, W) -> logits (B, num_classes). `config`: arguments of the package's `classification.WaveMix`."""
    net = reference_wavemix(**config)
    net.conv = Stem(*net.conv)
    net.layers = nn.ModuleList(map(WaveBlock, net.layers))
    net.pool = nn.Sequential(GlobalMean(), nn.Identity(), net.pool[-1])
    return net


def haar_kernels(weight: Tensor) -> Tensor:
    """Weights of a level's bands -> kernels of the 2 x 2 pixels from which the orthonormal Haar transform computes them.

    (O, 4C) -> (O, C, 2, 2), for a stride of two. The first C of the 4C weigh the low bands, the others the high ones, three
    consecutive ones per channel: top minus bottom, left minus right, diagonal minus diagonal.
    """
    low, high = (weight / 2).tensor_split([weight.shape[1] // 4], dim=1)
    rows, columns, diagonals = high.unflatten(1, (-1, 3)).unbind(2)
    top, bottom, across, back = low + rows, low - rows, columns + diagonals, columns - diagonals
    return torch.stack((top + across, top - across, bottom + back, bottom - back), dim=2).unflatten(2, (2, 2))


def pad_to_even(x: Tensor) -> Tensor:
    """(B, C, H, W), zero-padded by a row or column where the size is odd."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x


def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, H, W) cropped at the bottom and right to the size of `like`: undoes `pad_to_even`."""
    return x[..., : like.shape[-2], : like.shape[-1]]


class Dropout(nn.Dropout):
    """nn.Dropout with faster random numbers on a CPU, where torch's cost a tenth of a step."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        mask = torch.rand_like(x, dtype=torch.float32) >= self.p
        return x * mask.to(x.dtype).div_(1 - self.p)


class FeedForward(nn.Sequential):
    """The package's layers of a level, applied to pixels (B, C, 2H, 2W) instead of their bands.

    The first convolution takes the 4C bands and, except at the coarsest level, the output of the level below.
    """

    def __init__(self, bands: nn.Conv2d, gelu: nn.GELU, dropout: nn.Dropout, *others: nn.Module) -> None:
        super().__init__(bands, gelu, Dropout(dropout.p), *others)

    def forward(self, pixels: Tensor, coarser: Tensor | None = None) -> Tensor:
        bands, *others = self
        weight, coarser_weight = bands.weight.tensor_split([4 * pixels.shape[1]], dim=1)
        x = F.conv2d(pixels, haar_kernels(weight.flatten(1)), bands.bias, stride=2)
        if coarser is not None:
            x = x + F.conv2d(crop_to(coarser, x), coarser_weight)
        for layer in others:
            x = layer(x)
        return x


class WaveBlock(nn.Module):
    """The package's block of one to four levels: (B, dim, H, W) -> the same shape."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        for name, layers in block.named_children():
            self.add_module(name, FeedForward(*layers) if isinstance(layers, nn.Sequential) else layers)

    def forward(self, x: Tensor) -> Tensor:
        *levels, reduction = self.children()
        pixels = [pad_to_even(reduction(x))]
        for _ in levels[1:]:
            pixels.append(pad_to_even(2 * F.avg_pool2d(pixels[-1], 2)))  # the low band of the level before
        mixed = None
        for level in reversed(levels):
            mixed = level(pixels.pop(), mixed)
        return crop_to(mixed, x)


class Stem(nn.Sequential):
    """The package's stem, (B, 3, H, W) -> (B, dim, H / patch, W / patch), with two convolutions merged into one."""

    def forward(self, images: Tensor) -> Tensor:
        first, second, third, *others = self
        # One convolution of patch + 2 pixels, a third of the arithmetic. Not with the first: the second pads with zeros.
        weight = F.conv_transpose2d(third.weight, second.weight)
        bias = third.bias + third.weight.sum((2, 3)) @ second.bias
        x = F.conv2d(first(images), weight, bias, third.stride, second.padding)
        for layer in others:
            x = layer(x)
        return x


class GlobalMean(nn.Module):
    """(B, C, H, W) -> (B, C), with a channels-last gradient, like the activations."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).mean((1, 2))
