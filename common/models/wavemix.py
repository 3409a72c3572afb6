"""WaveMix: an image classifier whose blocks mix pixels with a Haar wavelet pyramid instead of attention.

WaveMix: Jeevan et al., arXiv 2205.14375, after the PyPI package `wavemix` 0.2.4 (MIT, Pranav Jeevan).
Clash of Backbones, arXiv 2406.05612, fine-tunes its WaveMix-192/16, which is what the defaults build.

Parameters keep the package's names, so its published weights load strictly. (One exception: in a block of
a single level the package says `feedforward`, without a number.) The package itself does not import under
NumPy 2, puts its filters on the first GPU, and computes the first of three levels three times.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def pairs(x: Tensor, dim: int) -> tuple[Tensor, ...]:
    """The even and the odd entries along `dim`, whose size is even: two views of half that size."""
    return x.unflatten(dim, (-1, 2)).unbind(dim + 1)


def haar(x: Tensor) -> tuple[Tensor, Tensor]:
    """One level of the orthonormal Haar transform; an odd size first gains a row or column of zeros.

    (B, C, H, W) -> low (B, C, H/2, W/2) and high (B, 3C, H/2, W/2). The three high bands of a channel are
    neighbours: top minus bottom, left minus right, diagonal minus diagonal.
    """
    height, width = x.shape[-2:]
    if height % 2 or width % 2:
        x = F.pad(x, (0, width % 2, 0, height % 2))
    # Sums of views, rows first: forward + backward beat strided slices, pixel_unshuffle and convolutions.
    top, bottom = pairs(x / 2, dim=2)
    left, right = pairs(top + bottom, dim=3)
    left_edge, right_edge = pairs(top - bottom, dim=3)
    high = torch.stack((left_edge + right_edge, left - right, left_edge - right_edge), dim=2)
    return left + right, high.flatten(1, 2)


def pyramid(x: Tensor, levels: int) -> list[tuple[Tensor, Tensor]]:
    """(low, high) of every level, fine to coarse: each transforms the low band of the one before."""
    bands = []
    for _ in range(levels):
        x, high = haar(x)
        bands.append((x, high))
    return bands


def crop(x: Tensor, like: Tensor) -> Tensor:
    """(B, C, H, W) cut at the bottom and right to the size of `like`: undoes the padding of odd sizes."""
    return x[..., : like.shape[-2], : like.shape[-1]]


def feedforward(inputs: int, hidden: int, bottleneck: int, outputs: int, dropout: float) -> nn.Sequential:
    """(B, inputs, H, W) -> (B, outputs, 2H, 2W)"""
    return nn.Sequential(
        nn.Conv2d(inputs, hidden, 1),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Conv2d(hidden, bottleneck, 1),
        nn.ConvTranspose2d(bottleneck, outputs, 4, stride=2, padding=1),
        nn.BatchNorm2d(outputs),
    )


class WaveBlock(nn.Module):
    """(B, dim, H, W) -> the same shape: reduce, transform, mix from the coarsest level up to the finest."""

    def __init__(self, dim: int, level: int, mult: int, ff_channel: int, dropout: float) -> None:
        super().__init__()
        self.level = level
        for i in range(1, level + 1):
            inputs = dim if i == level else dim + dim // 2  # nothing comes up to the coarsest level
            outputs = dim if i == 1 else dim // 2
            self.add_module(f"feedforward{i}", feedforward(inputs, dim * mult, ff_channel, outputs, dropout))
        self.reduction = nn.Conv2d(dim, dim // 4, 1)  # one low and three high bands make `dim` channels again

    def forward(self, x: Tensor) -> Tensor:
        *finer, coarsest = pyramid(self.reduction(x), self.level)
        mixed = self.get_submodule(f"feedforward{self.level}")(torch.cat(coarsest, dim=1))
        for i, (low, high) in reversed(list(enumerate(finer, start=1))):
            bands = torch.cat((low, high, crop(mixed, low)), dim=1)
            mixed = self.get_submodule(f"feedforward{i}")(bands)
        return crop(mixed, x)


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
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(final_dim, num_classes))
        self.conv = nn.Sequential(
            nn.Conv2d(3, final_dim // 4, 3, padding=1),
            nn.Conv2d(final_dim // 4, final_dim // 2, 3, padding=1),
            nn.Conv2d(final_dim // 2, final_dim, patch_size, stride=patch_size),
            nn.GELU(),
            nn.BatchNorm2d(final_dim),
        )

    def forward(self, images: Tensor) -> Tensor:
        x = self.conv(images)
        for layer in self.layers:
            x = layer(x) + x
        return self.pool(x)
