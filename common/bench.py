"""How fast the networks train on this machine, and whether their images keep up with them."""

import multiprocessing
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import results
from .data.loaders import Batches, place
from .measure import cost
from .models import backbones
from .spec import Augment
from .training import device, recipes
from .training.finetune import finetune

CLASSES = 10
TURNS = 4  # of each, after the first, in which everything warms up
NUMBERS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Still(Batches):
    """The same random batch again and again: what a network could do if data cost nothing."""

    def train(self, augment: Augment, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        images = torch.randn(self.batch_size, 3, *self.preprocess.size, device=self.device)
        images = images.contiguous(memory_format=self.memory_format)
        labels = torch.arange(self.batch_size, device=self.device) % CLASSES
        for _ in range(self.steps):
            yield images, labels


def all_of(models: Sequence[str], *settings: Any) -> Iterator[dict[str, Any]]:
    """A row per network, each from a process of its own: none inherits the memory of another."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for model in models:
            yield pool.submit(bench, model, *settings).result()


def bench(
    model: str, size: tuple[int, int] | None, batch_size: int, steps: int, where: str, precision: str
) -> dict[str, Any]:
    """Random pixels on the disk, through the path of a real run, against a batch that is already there.

    Both train with the same loop, `steps` steps by turns; of the four turns the fastest counts.
    The weights are random: speed does not depend on them.

    Returns: images per second `synthetic` and `end_to_end`, their `ratio`, `data_seconds` per step, parameters, MACs,
    peak memory in bytes, and `utilization`: MACs per second against those of a large matrix product.
    """
    row = backbones.find(model)
    preprocess = row.preprocess(size or (row.size, row.size))
    accelerator = device.accelerator(where, precision, row.cpu_bf16)
    net = backbones.build(row, CLASSES, None)
    macs = cost.macs(net, preprocess.size)
    n = steps * batch_size
    with tempfile.TemporaryFile() as file, device.batch_limits(batch_size):
        pixels = np.memmap(file, np.uint8, "w+", shape=(n, *preprocess.size, 3))
        pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape[1:], np.uint8)
        real = Batches(
            pixels=place(pixels, accelerator.device),
            rows=np.arange(n),
            labels=np.arange(n) % CLASSES,
            preprocess=preprocess,
            batch_size=batch_size,
            device=accelerator.device,
        )
        still = Still(**vars(real))
        net.to(accelerator.device, memory_format=real.memory_format)
        cost.forget_peak(accelerator.device)
        records: dict[str, list[dict]] = {"still": [], "real": []}

        def epoch(kind: str) -> None:
            batches = still if kind == "still" else real
            finetune(
                net, row.head, batches, Augment(crop=0.5, flip=True), lambda _: (0.0, {}), recipes.clean(1, row.lr),
                accelerator, 0, records[kind].append,
            )  # fmt: skip

        for kind in ("still", "real") * (1 + TURNS):
            epoch(kind)
    rate = {kind: max(r["train_images_per_second"] for r in told[1:]) for kind, told in records.items()}
    computed = 3 * macs * rate["real"]  # a backward pass costs two forward passes
    best = cost.matmul_rate(accelerator.device, NUMBERS[accelerator.mixed_precision])
    about = results.provenance(accelerator.device, accelerator.mixed_precision.replace("no", "fp32"))
    del about["command"]  # this process' own
    return {
        "backbone": row.name,
        "size": preprocess.size,
        "synthetic": rate["still"],
        "end_to_end": rate["real"],
        "ratio": rate["real"] / rate["still"],
        "data_seconds": min(r["data_seconds"] for r in records["real"][1:]) / steps,
        "parameters": cost.parameters(net),
        "macs": macs,
        "peak_memory_bytes": cost.peak_memory(accelerator.device),
        "utilization": computed / best,
        "batch_size": batch_size,
        **about,
    }


HEAD = (
    f"{'backbone':20} {'precision':9} {'pixels':>8} {'synthetic':>10} {'end to end':>11} {'ratio':>6} {'data':>8} "
    f"{'memory':>8} {'GMACs':>6} {'of matmul':>9}"
)


def line(row: dict[str, Any]) -> str:
    return (
        f"{row['backbone']:20} {row['precision']:9} {'x'.join(map(str, row['size'])):>8} {row['synthetic']:6.1f}/s   "
        f"{row['end_to_end']:7.1f}/s   {100 * row['ratio']:5.1f}% {1e3 * row['data_seconds']:5.0f} ms "
        f"{row['peak_memory_bytes'] / 1e9:5.1f} GB {row['macs'] / 1e9:6.2f} {100 * row['utilization']:8.1f}%"
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    results.write_json(path, rows)
