"""Batches: their order, their share per process, streaming and memory format."""

import threading
from contextlib import closing, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import batches

from common import Augment
from common.data import loader
from common.data.loader import Batches


def test_an_epoch_sees_every_image_once() -> None:
    data = batches(40, 8)
    labels = torch.cat([y for _, y in islice(data.train(Augment(), 0), 5)])
    assert len(labels) == 40 and labels.sum() == 20 and data.steps == 5
    assert batches(41, 8).steps == 5 and batches(5, 8).steps == 1


def test_processes_share_one_order() -> None:
    """Two processes together see the batches that one sees, and evaluation counts each image once."""
    single = batches(20, 8)
    both = [batches(20, 8, rank=r, world=2) for r in range(2)]
    for (x, _), (x0, _), (x1, _) in zip(
        *(islice(b.train(Augment(crop=0.5), 3), 5) for b in (single, *both)), strict=True
    ):
        torch.testing.assert_close(torch.stack((x0, x1), 1).flatten(0, 1), x)
    all_images = torch.cat([x for x, _ in single.eval()])
    shares = [torch.cat([x for x, _ in b.eval()]) for b in both]
    torch.testing.assert_close(torch.stack(shares, 1).flatten(0, 1), all_images)


def test_batches_continue_at_any_step() -> None:
    """Across the end of an epoch, and with micro-batches, too."""
    data = batches(20, 8, micro_batches=2)
    augment = Augment(crop=0.5, flip=True, trivial=True)
    uninterrupted = list(islice(data.train(augment, 3), 14))
    for step in (1, 2, 5):
        continued = islice(data.train(augment, 3, step), 4)
        for (x, y), (x0, y0) in zip(continued, uninterrupted[2 * step :], strict=False):
            assert torch.equal(x, x0) and torch.equal(y, y0)


def test_streaming_equals_lookup_on_the_device(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = batches(50, pixels=np.load(tmp_path / "pixels.npy", mmap_mode="r"))
    on_device = batches(50, pixels=torch.from_numpy(pixels))
    augment = Augment(crop=0.5, dihedral=True, trivial=True)
    for streamed, looked_up in (
        (islice(mapped.train(augment, 0), 6), islice(on_device.train(augment, 0), 6)),
        (mapped.eval(), on_device.eval()),
    ):
        pairs = list(zip(streamed, looked_up, strict=True))
        assert len(pairs) in (4, 6)
        assert all(torch.equal(a, b) and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("last", [True, False])
def test_memory_format(last: bool) -> None:
    images, _ = next(batches(channels_last=last).train(Augment(flip=True), 0))
    assert images.is_contiguous(memory_format=torch.channels_last) == last


@pytest.mark.parametrize(("more", "largest"), [({}, 16), ({"micro_batches": 4}, 4), ({"world": 2}, 8)])
def test_evaluation_batches_are_twice_as_large(more: dict, largest: int) -> None:
    sizes = [len(labels) for _, labels in batches(50, **more).eval()]
    assert max(sizes) == largest and sum(sizes) == 50 // more.get("world", 1)


def test_a_consumer_that_stops_early_leaves_no_thread() -> None:
    before = threading.active_count()
    stream = batches().train(Augment(), 0)
    next(stream)
    stream.close()
    assert threading.active_count() == before


def test_balanced_sampling() -> None:
    """Every class as often as any other; an image that is drawn twice is augmented in two ways."""
    data = batches(labels=np.array([0] * 720 + [1] * 80), balanced=True)
    drawn = list(islice(data.train(Augment(shift=0.5), 0), data.steps))
    labels = torch.cat([y for _, y in drawn])
    assert len(labels) == 800 and 340 < int(labels.sum()) < 460
    rare = torch.cat([x[y == 1] for x, y in drawn]).flatten(1)
    assert len(rare) > 4 * 80 and len(rare.unique(dim=0)) > 0.95 * len(rare)


class FakeStream:
    """A CUDA stream whose events are numbers: that of the copies so far, and that of the last one waited for."""

    def __init__(self) -> None:
        self.recorded = self.waited = 0

    def record_event(self) -> int:
        self.recorded += 1
        return self.recorded

    def wait_event(self, event: int) -> None:
        self.waited = event


def test_streaming_to_a_gpu_copies_in_a_stream_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The network's stream waits for a batch's copy, and the allocator for the network's stream."""
    copies, network = FakeStream(), FakeStream()
    entered, held = [], []
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: copies)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: network)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext(entered.append(stream)))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda images, stream: held.append(stream))
    monkeypatch.setattr(loader, "to_device", lambda tensor, device: tensor)
    monkeypatch.setattr(Batches, "_normalise", lambda self, images: images)
    on_cpu = batches(40, 8)
    on_gpu = replace(on_cpu, device=torch.device("cuda"))
    with closing(on_gpu.train(Augment(), 0)) as streamed:
        pairs = zip(streamed, on_cpu.train(Augment(), 0), strict=True)
        for i, ((x, y), (x0, y0)) in enumerate(islice(pairs, 7), 1):
            assert torch.equal(x, x0) and torch.equal(y, y0)
            assert network.waited == i <= copies.recorded and held == [network] * i
    assert entered == [copies] * copies.recorded and network.recorded == 0
