"""From pixels to batches on the device: uint8 travels, everything else happens there."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..spec import Augment, Preprocess
from . import augment as augmentation


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The images of one part, ready to be batched.

    `batch_size` counts the images of one step over all processes; each of `world` processes takes its share of
    one global order.
    """

    pixels: np.ndarray  # (N, h, w, 3) uint8
    labels: np.ndarray  # (N,) int64
    preprocess: Preprocess
    batch_size: int
    device: torch.device
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def steps(self) -> int:
        """Training steps of an epoch: the incomplete last batch is left out, unless it is the only one."""
        return max(1, len(self) // self.batch_size)

    def train(self, augment: Augment, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled, augmented (B, 3, H, W) float32 and (B,) int64, `steps` of them."""
        order = torch.randperm(
            len(self), generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        ).numpy()
        maps = augmentation.draw(augment, len(self), seed, epoch)
        for step in range(self.steps):
            index = order[step * self.batch_size : (step + 1) * self.batch_size][self.rank :: self.world]
            images = augmentation.apply(
                self._images(index), maps[index].to(self.device), self.preprocess.size
            )
            yield self._normalise(images), self._labels(index)

    def eval(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process' share (positions rank, rank + world, ...) once, in order, as it is."""
        mine = np.arange(self.rank, len(self), self.world)
        for start in range(0, len(mine), 2 * self.batch_size):  # no gradients: twice the batch fits
            index = mine[start : start + 2 * self.batch_size]
            images = self._images(index)
            if images.shape[2:] != self.preprocess.size:
                images = F.interpolate(images, self.preprocess.size, mode="bilinear")
            yield self._normalise(images), self._labels(index)

    def _images(self, index: np.ndarray) -> Tensor:
        """(B, 3, h, w) float32 in 0..255."""
        return self._travel(self.pixels[index]).permute(0, 3, 1, 2).float()

    def _labels(self, index: np.ndarray) -> Tensor:
        return self._travel(self.labels[index])

    def _travel(self, array: np.ndarray) -> Tensor:
        batch = torch.from_numpy(array)
        if self.device.type == "cuda":  # from pinned memory the host need not wait
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = torch.tensor([self.preprocess.mean, self.preprocess.std], device=self.device).mul(255)
        return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = self._statistics
        return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
