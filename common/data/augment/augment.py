"""Data augmentation, for a whole batch on its device, reproducible per sample.

First TrivialAugmentWide, where a sheet or the user asks for it, at the size that is stored: before enlarging, as in the
paper. Then flips, symmetries, shifts and crops: all of them are affine maps of the picture's own coordinates
(-1..1), so one resampling does them together with the enlargement to the network's size. The parameters of sample i in
epoch e come from (seed, e, i) alone: a run does not depend on the batch size, the device or the number of processes.

Shapes: N samples, B images in the batch.
"""

import hashlib
import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ...spec import Augment
from ..to_device import to_device
from . import trivial_augment

# of a random crop's sides, at most (Szegedy et al. 2015, as in torchvision's RandomResizedCrop)
RATIO = 4 / 3


@dataclass(frozen=True)
class AugmentParams:
    """What happens to each of the samples; None where nothing of the kind does. On the CPU."""

    maps: Tensor | None  # (N, 2, 3) affine, from output coordinates to input coordinates
    operations: Tensor | None  # (N,) int64 and
    magnitudes: Tensor | None  # (N,) float32: see trivial.py
    framed: bool = False  # black beyond the edge, else what lies at the edge

    def of(self, which: np.ndarray) -> "AugmentParams":
        """Those of the samples in a batch."""
        drawn = (self.maps, self.operations, self.magnitudes)
        return AugmentParams(*(None if each is None else each[which] for each in drawn), self.framed)


def derive_seed(*what: object) -> int:
    """A seed of 63 bits for this purpose, seed, epoch ...: another for every other."""
    digest = hashlib.sha256("/".join(map(str, what)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(purpose: str, seed: int, epoch: int) -> torch.Generator:
    """Random numbers of one epoch, independent for every purpose."""
    return torch.Generator().manual_seed(derive_seed(purpose, seed, epoch))


def sample_params(augment: Augment, n: int, size: tuple[int, int], seed: int, epoch: int) -> AugmentParams:
    """The changes of `n` samples of (H, W) pixels in an epoch."""
    maps = None
    if augment.crop < 1 or augment.flip or augment.dihedral or augment.shift:
        maps = _maps(augment, n, size, seed, epoch)
    chosen = (
        trivial_augment.sample_params(n, generator("trivial", seed, epoch))
        if augment.trivial
        else (None, None)
    )
    return AugmentParams(maps, *chosen, framed=augment.shift > 0)


def _maps(augment: Augment, n: int, size: tuple[int, int], seed: int, epoch: int) -> Tensor:
    u = torch.rand(
        7, n, generator=generator("changes", seed, epoch)
    )  # the same numbers, whichever changes are on
    area = augment.crop + (1 - augment.crop) * u[0]
    ratio = torch.exp((2 * u[1] - 1) * math.log(RATIO)) if augment.crop < 1 else torch.ones(n)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = (1 - width) * (2 * u[2] - 1), (1 - height) * (2 * u[3] - 1)
    mirror = 1 - 2 * (u[4] < 0.5).float() if augment.flip or augment.dihedral else torch.ones(n)
    upside = 1 - 2 * (u[5] < 0.5).float() if augment.dihedral else torch.ones(n)
    square = size[0] == size[1]  # else a turn would stretch
    turn = (u[6] < 0.5).float() if augment.dihedral and square else torch.zeros(n)  # swaps the axes
    stay = 1 - turn
    if augment.shift:
        by = torch.rand(2, n, generator=generator("shift", seed, epoch))
        y, x = (old + _shift(v, augment.shift, side) for old, v, side in zip((y, x), by, size, strict=True))
    rows = (
        width * mirror * stay,
        width * mirror * turn,
        x,
        height * upside * turn,
        height * upside * stay,
        y,
    )
    return torch.stack(rows, 1).reshape(n, 2, 3)


def _shift(u: Tensor, share: float, side: int) -> Tensor:
    """By whole pixels, up to `share` of the side either way."""
    most = round(share * side)
    return 2 / side * ((2 * most + 1) * u).floor().sub(most)


def apply(images: Tensor, changes: AugmentParams, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) float32 in 0..255 -> (B, 3, *size), resampled once at most.

    Bicubic: bilinear crops are softer than the pictures of evaluation, and cost accuracy (LOG.md).
    """
    if changes.operations is not None:
        images = trivial_augment.apply(images, changes.operations, changes.magnitudes)
    if changes.maps is None:
        return resize(images, size)
    grid = _grid(to_device(changes.maps, images.device), size)
    images = F.grid_sample(images, grid, mode="bicubic", padding_mode="border", align_corners=False)
    return images * (grid.abs() <= 1).all(-1)[:, None] if changes.framed else images


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """To the size that the network sees: (B, 3, h, w) -> (B, 3, *size), as training does."""
    return images if images.shape[2:] == size else F.interpolate(images, size, mode="bicubic")


def _grid(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 2, 3) -> (B, H, W, 2), as `affine_grid` makes it, without its matrix product."""
    y, x = ((2 * torch.arange(n, device=maps.device) + 1) / n - 1 for n in size)
    along_y = maps[:, :, 1:2] * y + maps[:, :, 2:]  # (B, 2, H)
    along_x = maps[:, :, 0:1] * x  # (B, 2, W)
    return torch.stack([along_y[:, k, :, None] + along_x[:, k, None, :] for k in (0, 1)], -1)
