"""From pixels to batches: uint8 is sent to the device, everything else happens there."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ..spec import Augment, Preprocess
from .augment import augment as augmentation
from .to_device import to_device

PIXEL_FRACTION = 0.5  # of a GPU's free memory; the rest is for the network
PREFETCH = 2  # batches loaded ahead
CHUNK = 1024  # images per copy when all of them move to the GPU


def pixels_to_device(pixels: np.ndarray, device: torch.device) -> np.ndarray | Tensor:
    """The pixels on the GPU if they fit beside a network; else unchanged, to be streamed."""
    if device.type != "cuda" or pixels.nbytes > PIXEL_FRACTION * torch.cuda.mem_get_info(device)[0]:
        return pixels
    try:
        on_device = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:  # fragmented, or taken by another process
        return pixels
    for start in range(0, len(pixels), CHUNK):
        on_device[start : start + CHUNK].copy_(torch.from_numpy(pixels[start : start + CHUNK].copy()))
    return on_device


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The images of one part of a split, as batches on the device.

    `batch_size` counts the images of a step over all processes; each of `world` processes takes every `world`-th image
    of one global order, in `micro_batches` equal micro-batches.
    """

    pixels: np.ndarray | Tensor  # (all images, h, w, 3) uint8, shared by all parts
    indices: np.ndarray  # (N,) positions of this part's images in `pixels`
    labels: np.ndarray  # (N,) int64
    preprocess: Preprocess
    batch_size: int
    device: torch.device
    channels_last: bool = True  # memory format of the batches
    micro_batches: int = 1
    balanced: bool = False  # training draws all classes equally often, with replacement
    rank: int = 0
    world: int = 1

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def steps(self) -> int:
        """Training steps of an epoch: an incomplete last batch is dropped, unless it is the only one."""
        return max(1, len(self) // self.batch_size)

    def train(self, augment: Augment, seed: int, step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled, augmented (B, 3, H, W) float32 and (B,) int64, `micro_batches` of them per step, endlessly.

        They depend only on the seed and the step, so a run resumes at any `step` (from 0) as if it had never stopped.
        """
        for local, params, images in self._load(self._micro_batches(augment, seed, step)):
            images = augmentation.apply(images, params, self.preprocess.size)
            yield self._normalise(images), self._labels(local)

    def _micro_batches(
        self, augment: Augment, seed: int, step: int
    ) -> Iterator[tuple[np.ndarray, augmentation.AugmentParams]]:
        """The micro-batches of this process: positions in the part, and their augmentation."""
        divisor = self.micro_batches * self.world
        for epoch in count(1 + step // self.steps):
            order = self._order(augmentation.generator("order", seed, epoch)).numpy()
            size = tuple(self.pixels.shape[1:3])
            params = augmentation.sample_params(augment, len(self), size, seed, epoch)
            for start in range(step % self.steps, self.steps):
                batch = np.arange(len(self))[start * self.batch_size : (start + 1) * self.batch_size]
                batch = batch[: max(1, len(batch) // divisor) * divisor][self.rank :: self.world]
                for positions in np.array_split(batch, self.micro_batches):
                    local = order[positions]
                    # an image that is drawn twice is augmented in two ways
                    yield local, params.take(positions if self.balanced else local)
            step = 0

    def _order(self, generator: torch.Generator) -> Tensor:
        if not self.balanced:
            return torch.randperm(len(self), generator=generator)
        weights = torch.from_numpy(1 / np.bincount(self.labels)[self.labels])
        return torch.multinomial(weights, len(self), replacement=True, generator=generator)

    @property
    def class_weights(self) -> Tensor:
        """(C,) float32: the inverse frequency of every class; 1 if all classes have the same size."""
        counts = torch.from_numpy(np.bincount(self.labels)).float()
        return (len(self) / (len(counts) * counts)).to(self.device)

    def eval(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process (positions rank, rank + world, ...) once, in order, without augmentation."""
        local = np.arange(self.rank, len(self), self.world)
        # without gradients, twice the images of a training step fit
        step = max(1, 2 * self.batch_size // (self.micro_batches * self.world))
        batches = ((local[start : start + step],) for start in range(0, len(local), step))
        for positions, images in self._load(batches):
            yield self._normalise(augmentation.eval_transform(images, self.preprocess)), self._labels(positions)

    def display(self, i: int) -> np.ndarray:
        """(H, W, 3) uint8 of an image, as a network receives it in evaluation."""
        pixels = self.pixels[self.indices[i]]
        if isinstance(pixels, np.ndarray):
            pixels = torch.from_numpy(pixels.copy())  # a memory map is read-only
        image = pixels.permute(2, 0, 1)[None].float()
        resized = augmentation.eval_transform(image, self.preprocess)[0].clamp(0, 255).byte()
        return resized.permute(1, 2, 0).cpu().numpy()

    def _load(self, batches: Iterable[tuple]) -> Iterator[tuple]:
        """(positions, ...) -> (positions, ..., images (B, 3, h, w) float32 in 0..255 on the device)."""
        on_device = isinstance(self.pixels, Tensor)
        for batch, images in map(self._index, batches) if on_device else self._prefetch(batches):
            yield *batch, images.permute(0, 3, 1, 2).float()

    def _index(self, batch: tuple) -> tuple[tuple, Tensor]:
        return batch, self.pixels[to_device(torch.from_numpy(self.indices[batch[0]]), self.device)]

    def _prefetch(self, batches: Iterable[tuple]) -> Iterator[tuple[tuple, Tensor]]:
        """Images collected and copied by a thread while the network computes, on a GPU in a separate stream."""
        copies = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def collect(positions: np.ndarray) -> tuple[Tensor, "torch.cuda.Event | None"]:
            with torch.cuda.stream(copies) if copies else nullcontext():
                images = to_device(torch.from_numpy(self.pixels[self.indices[positions]]), self.device)
                return images, copies and copies.record_event()

        def wait(images: Tensor, copied: "torch.cuda.Event | None") -> Tensor:
            if copied:
                stream = torch.cuda.current_stream(self.device)
                stream.wait_event(copied)
                images.record_stream(stream)  # keeps the allocator from reusing its memory too early
            return images

        with ThreadPoolExecutor(1) as thread:
            pending = deque()
            for batch in batches:
                pending.append((batch, thread.submit(collect, batch[0])))
                if len(pending) > PREFETCH:
                    batch, result = pending.popleft()
                    yield batch, wait(*result.result())
            for batch, result in pending:
                yield batch, wait(*result.result())

    def _labels(self, positions: np.ndarray) -> Tensor:
        return to_device(torch.from_numpy(self.labels[positions]), self.device)

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = torch.tensor([self.preprocess.mean, self.preprocess.std], device=self.device).mul(255)
        return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = self._statistics
        return ((images - mean) / std).contiguous(memory_format=self.memory_format)
