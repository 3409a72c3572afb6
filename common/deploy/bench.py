"""How fast the networks train on this machine, and whether their images keep up with them."""

import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data.loader import Batches, pixels_to_device
from ..errors import UserError
from ..metrics import cost
from ..models import build
from ..run import provenance
from ..spec import Augment
from ..training import device, recipes
from ..training.cpu_kernels import move_to
from ..training.finetune import finetune

CLASSES = 10
AUGMENT = Augment(crop=0.5, flip=True)  # what most data sheets do
TURNS = 4  # of each, after the first, in which everything warms up
NUMBERS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class SyntheticBatches:
    """The same random batch again and again: what a network could do if data cost nothing."""

    of: Batches

    @property
    def steps(self) -> int:
        return self.of.steps

    @property
    def micro_batches(self) -> int:
        return self.of.micro_batches

    def train(self, augment: Augment, seed: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        images = torch.randn(self.of.batch_size, 3, *self.of.preprocess.size, device=self.of.device)
        images = images.contiguous(memory_format=self.of.memory_format)
        labels = torch.arange(self.of.batch_size, device=self.of.device) % CLASSES
        while True:
            yield images, labels


def bench_each(models: Sequence[str], *settings: Any) -> Iterator[dict[str, Any]]:
    """A row per network, each from a process of its own: none inherits the memory of another."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for model in models:
            try:
                yield pool.submit(bench, model, *settings).result()
            except BrokenProcessPool:
                raise UserError(
                    f"the process of {model} was killed, probably out of memory: try a smaller -bs"
                ) from None


def bench(
    model: str, size: tuple[int, int] | None, batch_size: int, steps: int, where: str, precision: str
) -> dict[str, Any]:
    """Random pixels on the disk, through the path of a real run, against a batch that is already there.

    Both train with the same loop, `steps` steps by turns; the figures are medians of four turns.
    The weights are random: speed does not depend on them.

    Returns: images per second `synthetic` and `end_to_end`, the `ratios` of the turns and their median, `data_seconds`
    per step, parameters, MACs, peak memory in bytes, and `utilization`: MACs per second against those of a large
    matrix product.
    """
    row = build.get_backbone(model)
    row.check_size(size or (row.size, row.size))
    preprocess = row.preprocess(size or (row.size, row.size))
    accelerator = device.make_accelerator(where, precision, row.cpu_bf16)
    net = build.create_model(row, CLASSES, None)
    macs = cost.macs(net, preprocess.size)
    n = steps * batch_size
    with tempfile.TemporaryFile() as file, device.batch_errors(batch_size):
        pixels = np.memmap(file, np.uint8, "w+", shape=(n, *preprocess.size, 3))
        pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape[1:], np.uint8)
        real = Batches(
            pixels=pixels_to_device(pixels, accelerator.device),
            indices=np.arange(n),
            labels=np.arange(n) % CLASSES,
            preprocess=preprocess,
            batch_size=batch_size,
            device=accelerator.device,
        )
        batches = {"still": SyntheticBatches(real), "real": real}
        move_to(net, accelerator.device, real.memory_format)
        cost.reset_peak_memory(accelerator.device)
        records: dict[str, list[dict]] = {"still": [], "real": []}

        def epoch(kind: str) -> None:
            finetune(
                net, row.head, batches[kind], AUGMENT, lambda _: (0.0, {}), recipes.clean(1, steps, row.lr), accelerator, 0,
                records[kind].append,
            )  # fmt: skip
            accelerator.free_memory()  # it keeps the optimizers that it has prepared

        for kind in ("still", "real") * (1 + TURNS):
            epoch(kind)
        peak = cost.peak_memory(accelerator.device)
    rates = {kind: [r["train_images_per_second"] for r in told[1:]] for kind, told in records.items()}
    pairs = [real / still for real, still in zip(rates["real"], rates["still"], strict=True)]
    rate = {kind: statistics.median(told) for kind, told in rates.items()}
    computed = 3 * macs * rate["real"]  # a backward pass costs two forward passes
    best = cost.matmul_rate(accelerator.device, NUMBERS[accelerator.mixed_precision])
    about = provenance.collect(accelerator.device, accelerator.mixed_precision.replace("no", "fp32"))
    del about["command"]  # this process' own
    return {
        "backbone": row.name,
        "size": preprocess.size,
        "synthetic": rate["still"],
        "end_to_end": rate["real"],
        "ratio": statistics.median(pairs),
        "ratios": sorted(pairs),
        "data_seconds": statistics.median(r["data_seconds"] for r in records["real"][1:]) / steps,
        "parameters": cost.parameters(net),
        "macs": macs,
        "peak_memory_bytes": peak,
        "utilization": computed / best,
        "batch_size": batch_size,
        "steps": steps,
        **about,
    }
