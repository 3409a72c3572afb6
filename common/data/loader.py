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

SHARE = 0.5  # of a GPU's free memory that pixels may take; the network needs the rest
AHEAD = 2  # batches that are on their way while the network computes
CHUNK = 1024  # images that travel at once when all of them move to the GPU


def pixels_to_device(pixels: np.ndarray, device: torch.device) -> np.ndarray | Tensor:
    """The pixels on the GPU if they fit there beside a network; else where they are, to be streamed."""
    if device.type != "cuda" or pixels.nbytes > SHARE * torch.cuda.mem_get_info(device)[0]:
        return pixels
    try:
        there = torch.empty(pixels.shape, dtype=torch.uint8, device=device)
    except torch.OutOfMemoryError:  # free, but not in one piece, or another process was faster
        return pixels
    for start in range(0, len(pixels), CHUNK):
        there[start : start + CHUNK].copy_(torch.from_numpy(pixels[start : start + CHUNK].copy()))
    return there


@dataclass(frozen=True, kw_only=True)
class Batches:
    """The images of one part, ready to be batched.

    `batch_size` counts the images of one step over all processes; each of `world` processes takes its share of
    one global order, in `micro_batches` equal pieces.
    """

    pixels: np.ndarray | Tensor  # (all images, h, w, 3) uint8, shared by the parts
    indices: np.ndarray  # (N,) positions of this part's images in `pixels`
    labels: np.ndarray  # (N,) int64
    preprocess: Preprocess
    batch_size: int
    device: torch.device
    channels_last: bool = True  # how the batches lie in memory
    micro_batches: int = 1
    balanced: bool = False  # training draws every class as often as any other, with replacement
    rank: int = 0
    world: int = 1

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __len__(self) -> int:
        return len(self.indices)

    def picture(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8: image i of this part, as it is stored."""
        stored = self.pixels[self.indices[i]]
        return stored.cpu().numpy() if isinstance(stored, Tensor) else stored

    @property
    def steps(self) -> int:
        """Training steps of an epoch: the incomplete last batch is left out, unless it is the only one."""
        return max(1, len(self) // self.batch_size)

    def train(self, augment: Augment, seed: int, step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled, augmented (B, 3, H, W) float32 and (B,) int64, `micro_batches` of them for a step.

        Epoch after epoch without end. What they are depends on nothing but the seed and the number of the step, so
        a run goes on at any `step` (the first is 0) as if it had never stopped.
        """
        for mine, changes, images in self._bring(self._pieces(augment, seed, step)):
            images = augmentation.apply(images, changes, self.preprocess.size)
            yield self._normalise(images), self._labels(mine)

    def _pieces(
        self, augment: Augment, seed: int, step: int
    ) -> Iterator[tuple[np.ndarray, augmentation.AugmentParams]]:
        """This process' share of every step, in micro-batches: which images, and what happens to them."""
        pieces = self.micro_batches * self.world
        for epoch in count(1 + step // self.steps):
            order = self._order(augmentation.generator("order", seed, epoch)).numpy()
            changes = augmentation.sample_params(
                augment, len(self), tuple(self.pixels.shape[1:3]), seed, epoch
            )
            for start in range(step % self.steps, self.steps):
                batch = np.arange(len(self))[start * self.batch_size : (start + 1) * self.batch_size]
                equal = batch[: max(1, len(batch) // pieces) * pieces][self.rank :: self.world]
                for places in np.array_split(equal, self.micro_batches):
                    mine = order[places]
                    # an image that is drawn twice is changed in two ways
                    yield mine, changes.of(places if self.balanced else mine)
            step = 0

    def _order(self, dice: torch.Generator) -> Tensor:
        if not self.balanced:
            return torch.randperm(len(self), generator=dice)
        share = torch.from_numpy(1 / np.bincount(self.labels)[self.labels])
        return torch.multinomial(share, len(self), replacement=True, generator=dice)

    @property
    def class_weights(self) -> Tensor:
        """(C,) float32: the inverse of every class' frequency; 1 where all are of one size."""
        counts = torch.from_numpy(np.bincount(self.labels)).float()
        return (len(self) / (len(counts) * counts)).to(self.device)

    def eval(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process' share (positions rank, rank + world, ...) once, in order, as it is."""
        mine = np.arange(self.rank, len(self), self.world)
        # no gradients: twice of what trains at once fits
        step = max(1, 2 * self.batch_size // (self.micro_batches * self.world))
        pieces = ((mine[start : start + step],) for start in range(0, len(mine), step))
        for piece, images in self._bring(pieces):
            yield self._normalise(augmentation.resize(images, self.preprocess.size)), self._labels(piece)

    def _bring(self, pieces: Iterable[tuple]) -> Iterator[tuple]:
        """The pieces, each with its images (B, 3, h, w) float32 in 0..255 on the device behind it.

        A piece starts with which images it is.
        """
        on_device = isinstance(self.pixels, Tensor)
        for piece, images in map(self._look_up, pieces) if on_device else self._stream(pieces):
            yield *piece, images.permute(0, 3, 1, 2).float()

    def _look_up(self, piece: tuple) -> tuple[tuple, Tensor]:
        return piece, self.pixels[to_device(torch.from_numpy(self.indices[piece[0]]), self.device)]

    def _stream(self, pieces: Iterable[tuple]) -> Iterator[tuple[tuple, Tensor]]:
        """Gathered and sent by a thread while the network computes, on a GPU beside its own queue of work."""
        side = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

        def gather(piece: np.ndarray) -> tuple[Tensor, "torch.cuda.Event | None"]:
            with torch.cuda.stream(side) if side else nullcontext():
                images = to_device(torch.from_numpy(self.pixels[self.indices[piece]]), self.device)
                return images, side and side.record_event()

        def arrived(images: Tensor, sent: "torch.cuda.Event | None") -> Tensor:
            if sent:
                queue = torch.cuda.current_stream(self.device)
                queue.wait_event(sent)
                images.record_stream(queue)  # its memory is not to be used again before the queue is through
            return images

        with ThreadPoolExecutor(1) as thread:
            under_way = deque()
            for piece in pieces:
                under_way.append((piece, thread.submit(gather, piece[0])))
                if len(under_way) > AHEAD:
                    piece, sent = under_way.popleft()
                    yield piece, arrived(*sent.result())
            for piece, sent in under_way:
                yield piece, arrived(*sent.result())

    def _labels(self, piece: np.ndarray) -> Tensor:
        return to_device(torch.from_numpy(self.labels[piece]), self.device)

    @cached_property
    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = torch.tensor([self.preprocess.mean, self.preprocess.std], device=self.device).mul(255)
        return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)

    def _normalise(self, images: Tensor) -> Tensor:
        mean, std = self._statistics
        return ((images - mean) / std).contiguous(memory_format=self.memory_format)
