"""Data augmentation of a whole batch on its device, reproducible per sample.

TrivialAugmentWide, where the data sheet or the user sets it, comes first, at the stored size: CIFAR's own 32 x 32 pixels, as
in the paper. Flips, symmetries, shifts and crops are affine maps of the image's coordinates (-1..1): one resampling applies them
together with the resize to the network's input size. The parameters of sample i in epoch e depend only on (seed, e, i),
not on the batch size, the device or the number of processes.

Shapes: N samples, B images in the batch.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...spec import Augment, Preprocess
from ..images.decode import eval_margins
from ..to_device import to_device
from . import trivial_augment

# largest aspect ratio of a random crop (Szegedy et al. 2015, as in torchvision's RandomResizedCrop)
RATIO = 4 / 3


@dataclass(frozen=True)
class AugmentParams:
    """The augmentation of N samples, on the CPU; None where that kind is off."""

    affine: Tensor | None  # (N, 2, 3), from output to input coordinates
    operations: Tensor | None  # (N,) int64, of TrivialAugment
    magnitudes: Tensor | None  # (N,) float32, of these operations
    zero_pad: bool = False  # beyond the edge; else the edge's pixels are repeated

    def take(self, positions: np.ndarray) -> "AugmentParams":
        """The parameters of the samples in a batch."""
        params = (self.affine, self.operations, self.magnitudes)
        return AugmentParams(*(None if each is None else each[positions] for each in params), self.zero_pad)


def derive_seed(*key: object) -> int:
    """A 63-bit seed for a key such as (purpose, seed, epoch); another key gives an independent one."""
    digest = hashlib.sha256("/".join(map(str, key)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(purpose: str, seed: int, epoch: int) -> torch.Generator:
    """A generator for one epoch, independent for every purpose."""
    return torch.Generator().manual_seed(derive_seed(purpose, seed, epoch))


def sample_params(augment: Augment, n: int, size: tuple[int, int], seed: int, epoch: int) -> AugmentParams:
    """The augmentation of `n` samples of (H, W) pixels in an epoch."""
    affine = None
    if augment.crop < 1 or augment.flip or augment.dihedral or augment.shift:
        affine = _sample_affine(augment, n, size, seed, epoch)
    trivial = trivial_augment.sample_params(n, generator("trivial", seed, epoch)) if augment.trivial else (None, None)
    return AugmentParams(affine, *trivial, zero_pad=augment.shift > 0)


def _sample_affine(augment: Augment, n: int, size: tuple[int, int], seed: int, epoch: int) -> Tensor:
    # the same numbers whichever augmentations are on
    u = torch.rand(7, n, generator=generator("changes", seed, epoch))
    area = augment.crop + (1 - augment.crop) * u[0]
    ratio = torch.exp((2 * u[1] - 1) * math.log(RATIO)) if augment.crop < 1 else torch.ones(n)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = (1 - width) * (2 * u[2] - 1), (1 - height) * (2 * u[3] - 1)
    flip_x = 1 - 2 * (u[4] < 0.5).float() if augment.flip or augment.dihedral else torch.ones(n)
    flip_y = 1 - 2 * (u[5] < 0.5).float() if augment.dihedral else torch.ones(n)
    square = size[0] == size[1]  # swapping the axes would stretch another rectangle
    swap = (u[6] < 0.5).float() if augment.dihedral and square else torch.zeros(n)
    same = 1 - swap
    if augment.shift:
        v = torch.rand(2, n, generator=generator("shift", seed, epoch))
        y, x = y + _shift(v[0], augment.shift, size[0]), x + _shift(v[1], augment.shift, size[1])
    x_row = (width * flip_x * same, width * flip_x * swap, x)
    y_row = (height * flip_y * swap, height * flip_y * same, y)
    return torch.stack((*x_row, *y_row), 1).reshape(n, 2, 3)


def _shift(u: Tensor, fraction: float, side: int) -> Tensor:
    """Whole pixels, up to `fraction` of the side in either direction, in coordinates -1..1."""
    limit = round(fraction * side)
    return 2 / side * ((2 * limit + 1) * u).floor().sub(limit)


def apply(images: Tensor, params: AugmentParams, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) float32 in 0..255 -> (B, 3, *size), resampled at most once.

    Bicubic: bilinear crops are softer than the images of evaluation, and cost accuracy (LOG.md).
    """
    if params.operations is not None:
        images = trivial_augment.apply(images, params.operations, params.magnitudes)
    if params.affine is None:
        return resize(images, size)
    grid = _grid(to_device(params.affine, images.device), size)
    images = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return images * (grid.abs() <= 1).all(-1)[:, None] if params.zero_pad else images


def eval_transform(images: Tensor, preprocess: Preprocess) -> Tensor:
    """(B, 3, h, w) as decoded -> (B, 3, *preprocess.size): the center crop that evaluation sees, see `Preprocess.crop_pct`."""
    height, width = images.shape[2:]
    top, left = eval_margins((height, width), preprocess)
    return resize(images[:, :, top : height - top, left : width - left], preprocess.size)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) -> (B, 3, *size), the input size of the network, with the resampling of training; antialiased where it reduces."""
    if images.shape[2:] == size:
        return images
    reduces = any(old > new for old, new in zip(images.shape[2:], size, strict=True))
    return F.interpolate(images, size, mode="bicubic", antialias=reduces)


def _grid(affine: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 2, 3) -> (B, H, W, 2), as `affine_grid`, without its matrix product."""
    y, x = ((2 * torch.arange(n, device=affine.device) + 1) / n - 1 for n in size)
    along_y = affine[:, :, 1:2] * y + affine[:, :, 2:]  # (B, 2, H)
    along_x = affine[:, :, 0:1] * x  # (B, 2, W)
    return torch.stack([along_y[:, k, :, None] + along_x[:, k, None, :] for k in (0, 1)], -1)
