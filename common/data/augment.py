"""Random flips, symmetries and crops, for a whole batch where it lies, reproducible per sample.

All of them are affine maps of the picture's own coordinates (-1..1), so one resampling does them together with the
enlargement to the network's size. The parameters of sample i in epoch e come from (seed, e, i) alone: a run does
not depend on the batch size, the device or the number of processes.

Shapes: N samples, B images in the batch.
"""

import hashlib
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import Augment

RATIO = (
    4 / 3
)  # of a random crop's sides, at most (Szegedy et al. 2015, as in torchvision's RandomResizedCrop)


def dice(purpose: str, seed: int, epoch: int) -> torch.Generator:
    """Random numbers of one epoch, independent for every purpose."""
    digest = hashlib.sha256(f"{purpose}/{seed}/{epoch}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def draw(augment: Augment, n: int, seed: int, epoch: int) -> Tensor:
    """One affine map (N, 2, 3) per sample: from output coordinates to input coordinates."""
    u = torch.rand(7, n, generator=dice("changes", seed, epoch))  # the same numbers, whichever changes are on
    area = augment.crop + (1 - augment.crop) * u[0]
    ratio = torch.exp((2 * u[1] - 1) * math.log(RATIO)) if augment.crop < 1 else torch.ones(n)
    width, height = (area * ratio).sqrt().clamp(max=1), (area / ratio).sqrt().clamp(max=1)
    x, y = (1 - width) * (2 * u[2] - 1), (1 - height) * (2 * u[3] - 1)
    mirror = 1 - 2 * (u[4] < 0.5).float() if augment.flip or augment.dihedral else torch.ones(n)
    upside = 1 - 2 * (u[5] < 0.5).float() if augment.dihedral else torch.ones(n)
    turn = (u[6] < 0.5).float() if augment.dihedral else torch.zeros(n)  # swaps the axes
    stay = 1 - turn
    rows = (
        width * mirror * stay,
        width * mirror * turn,
        x,
        height * upside * turn,
        height * upside * stay,
        y,
    )
    return torch.stack(rows, 1).reshape(n, 2, 3)


def apply(images: Tensor, maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(B, 3, h, w) float, (B, 2, 3) -> (B, 3, *size), bilinear."""
    grid = F.affine_grid(maps.to(images.dtype), [len(images), 3, *size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
