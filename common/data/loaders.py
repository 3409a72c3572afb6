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
    one global order, in `micro_batches` equal pieces.
    """

    pixels: np.ndarray  # (all images, h, w, 3) uint8, shared by the parts
    all_labels: np.ndarray  # (all images,) int64
    index: np.ndarray  # (N,) positions of this part's images
    preprocess: Preprocess
    batch_size: int
    device: torch.device
    micro_batches: int = 1
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.index)

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64"""
        return self.all_labels[self.index]

    @property
    def steps(self) -> int:
        """Training steps of an epoch: the incomplete last batch is left out, unless it is the only one."""
        return max(1, len(self) // self.batch_size)

    def train(self, augment: Augment, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled, augmented (B, 3, H, W) float32 and (B,) int64, `steps * micro_batches` of them."""
        dice = augmentation.dice("order", seed, epoch)
        order = torch.randperm(len(self), generator=dice).numpy()
        maps = augmentation.draw(augment, len(self), seed, epoch)
        for step in range(self.steps):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            pieces = self.micro_batches * self.world
            equal = batch[: max(1, len(batch) // pieces) * pieces][self.rank :: self.world]
            for mine in np.array_split(equal, self.micro_batches):
                images, labels = self._fetch(mine)
                images = augmentation.apply(images, self._travel(maps[mine]), self.preprocess.size)
                yield self._normalise(images), labels

    def eval(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process' share (positions rank, rank + world, ...) once, in order, as it is."""
        mine = np.arange(self.rank, len(self), self.world)
        for start in range(0, len(mine), 2 * self.batch_size):  # no gradients: twice the batch fits
            images, labels = self._fetch(mine[start : start + 2 * self.batch_size])
            if images.shape[2:] != self.preprocess.size:
                images = F.interpolate(images, self.preprocess.size, mode="bilinear")
            yield self._normalise(images), labels

    def _fetch(self, which: np.ndarray) -> tuple[Tensor, Tensor]:
        """(B, 3, h, w) float32 in 0..255 and (B,) int64, on the device."""
        rows = self.index[which]
        images = self._travel(torch.from_numpy(self.pixels[rows])).permute(0, 3, 1, 2).float()
        return images, self._travel(torch.from_numpy(self.all_labels[rows]))

    def _travel(self, batch: Tensor) -> Tensor:
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
