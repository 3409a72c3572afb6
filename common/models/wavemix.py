"""WaveMix: an image classifier whose blocks mix pixels with a Haar wavelet pyramid instead of attention.

WaveMix: Jeevan et al., arXiv 2205.14375, after the PyPI package `wavemix` 0.2.4 (MIT, Pranav Jeevan).
Clash of Backbones, arXiv 2406.05612, fine-tunes its WaveMix-192/16, which is what the defaults build.

Parameters keep the package's names, so its published weights load strictly. (One exception: in a block of
a single level the package says `feedforward`, without a number.) The package itself does not import under
NumPy 2, puts its filters on the first GPU, and computes the first of three levels three times.

The function is the package's, the arithmetic is less. Where linear maps follow each other, their small weights are
multiplied first and the large maps pass once: the wavelet goes into the convolution behind it, and two
convolutions of the stem become one.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def haar_kernels(weight: Tensor) -> Tensor:
    """Weights of a level's bands -> kernels of the 2 x 2 pixels that the orthonormal Haar transform makes them of.

    (O, 4C) -> (O, C, 2, 2), for a stride of two. The first C of the 4C weigh the low bands, the others the high ones,
    of which the three of a channel are neighbours: top minus bottom, left minus right, diagonal minus diagonal.
    """
    low, high = (weight / 2).tensor_split([weight.shape[1] // 4], dim=1)
    rows, columns, diagonals = high.unflatten(1, (-1, 3)).unbind(2)
    top, bottom, across, back = low + rows, low - rows, columns + diagonals, columns - diagonals
    return torch.stack((top + across, top - across, bottom + back, bottom - back), dim=2).unflatten(2, (2, 2))


def pad_to_even(x: Tensor) -> Tensor:
    """(B, C, H, W), with a row or column of zeros more where the size is odd."""
    height, width = x.shape[-2:]
    return F.pad(x, (0, width % 2, 0, height % 2)) if height % 2 or width % 2 else x


def crop_to(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, H, W) cut at the bottom and right to the size of `like`: undoes the padding of odd sizes."""
    return x[..., : like.shape[-2], : like.shape[-1]]


class Dropout(nn.Dropout):
    """torch's, but for the random numbers on a CPU: theirs are drawn one by one there, and cost a tenth of a step."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or x.device.type != "cpu":
            return super().forward(x)
        kept = torch.rand_like(x, dtype=torch.float32) >= self.p
        return x * kept.to(x.dtype).div_(1 - self.p)


class FeedForward(nn.Sequential):
    """A level's pixels (B, C, 2H, 2W), whose bands are meant, and what comes up -> (B, outputs, 2H, 2W).

    `inputs` counts the 4C bands, and the channels that come up from the level below if there is one.
    """

    def __init__(self, inputs: int, hidden: int, bottleneck: int, outputs: int, dropout: float) -> None:
        super().__init__(
            nn.Conv2d(inputs, hidden, 1),
            nn.GELU(),
            Dropout(dropout),
            nn.Conv2d(hidden, bottleneck, 1),
            nn.ConvTranspose2d(bottleneck, outputs, 4, stride=2, padding=1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, pixels: Tensor, below: Tensor | None = None) -> Tensor:
        bands, *others = self
        weight, more = bands.weight.tensor_split([4 * pixels.shape[1]], dim=1)
        x = F.conv2d(pixels, haar_kernels(weight.flatten(1)), bands.bias, stride=2)
        if below is not None:
            x = x + F.conv2d(crop_to(below, x), more)
        for layer in others:
            x = layer(x)
        return x


class WaveBlock(nn.Module):
    """(B, dim, H, W) -> the same shape: reduce, transform, mix from the coarsest level up to the finest."""

    def __init__(self, dim: int, level: int, mult: int, ff_channel: int, dropout: float) -> None:
        super().__init__()
        self.level = level
        for i in range(1, level + 1):
            inputs = dim if i == level else dim + dim // 2  # nothing comes up to the coarsest level
            outputs = dim if i == 1 else dim // 2
            self.add_module(f"feedforward{i}", FeedForward(inputs, dim * mult, ff_channel, outputs, dropout))
        self.reduction = nn.Conv2d(dim, dim // 4, 1)  # one low and three high bands make `dim` channels again

    def forward(self, x: Tensor) -> Tensor:
        pixels = [pad_to_even(self.reduction(x))]
        for _ in range(1, self.level):
            pixels.append(pad_to_even(2 * F.avg_pool2d(pixels[-1], 2)))  # the low bands of the level before
        mixed = None
        for i in range(self.level, 0, -1):
            mixed = self.get_submodule(f"feedforward{i}")(pixels[i - 1], mixed)
        return crop_to(mixed, x)


class Stem(nn.Sequential):
    """(B, 3, H, W) -> (B, dim, H / patch, W / patch)"""

    def __init__(self, dim: int, patch: int) -> None:
        super().__init__(
            nn.Conv2d(3, dim // 4, 3, padding=1),
            nn.Conv2d(dim // 4, dim // 2, 3, padding=1),
            nn.Conv2d(dim // 2, dim, patch, stride=patch),
            nn.GELU(),
            nn.BatchNorm2d(dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        first, second, third, *others = self
        # One convolution of patch + 2 pixels, a third of the arithmetic. The first stays: the second sees zeros around it.
        weight = F.conv_transpose2d(third.weight, second.weight)
        bias = third.bias + third.weight.sum((2, 3)) @ second.bias
        x = F.conv2d(first(images), weight, bias, third.stride, second.padding)
        for layer in others:
            x = layer(x)
        return x


class Mean(nn.Module):
    """(B, C, H, W) -> (B, C). Channels go last, so that they do in the gradient, through all of the blocks."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).mean((1, 2))


class WaveMix(nn.Module):
    """(B, 3, H, W) -> logits (B, num_classes), for any H and W of at least one patch."""

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        depth: int = 16,
        mult: int = 2,
        ff_channel: int = 192,
        final_dim: int = 192,
        dropout: float = 0.5,
        level: int = 3,
        patch_size: int = 4,
    ) -> None:
        super().__init__()
        blocks = (WaveBlock(final_dim, level, mult, ff_channel, dropout) for _ in range(depth))
        self.layers = nn.ModuleList(blocks)
        self.pool = nn.Sequential(Mean(), nn.Identity(), nn.Linear(final_dim, num_classes))
        self.conv = Stem(final_dim, patch_size)

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        for layer in self.layers:
            x = layer(x) + x
        return self.pool(x)
