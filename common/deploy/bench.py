"""Training throughput of backbones on this machine, with synthetic batches against the real input pipeline."""

import multiprocessing
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..data.images.decode import stored_size
from ..data.loader import Batches, pixels_to_device
from ..errors import UserError
from ..metrics import cost
from ..models import build
from ..models.registry import Backbone
from ..run import provenance
from ..spec import Augment, Preprocess
from ..training import device, recipes
from ..training.cpu_kernels import move_to
from ..training.finetune import finetune
from ..training.task import Task

CLASSES = 10
AUGMENT = Augment(crop=0.5, flip=True)  # as in most data sheets
ROUNDS = 4  # measured epochs of each kind, after one for warm-up
DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class SyntheticBatches:
    """One random batch, repeated: the throughput of the network alone."""

    batches: Batches  # their shape, device and number

    @property
    def steps(self) -> int:
        return self.batches.steps

    @property
    def micro_batches(self) -> int:
        return self.batches.micro_batches

    def train(self, augment: Augment, seed: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        like = self.batches
        images = torch.randn(like.batch_size, 3, *like.preprocess.size, device=like.device)
        images = images.contiguous(memory_format=like.memory_format)
        labels = torch.arange(like.batch_size, device=like.device) % CLASSES
        while True:
            yield images, labels


def bench_each(models: Sequence[str], size: tuple[int, int] | None, *settings: Any) -> Iterator[dict[str, Any]]:
    """`bench` of every model, each in a new process, so that memory is measured from zero.

    Raises:
        UserError: a model does not support images of this size; nothing is measured.
    """
    for model in models if size else ():
        build.check_size(build.get_backbone(model), size)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for model in models:
            try:
                yield pool.submit(bench, model, size, *settings).result()
            except BrokenProcessPool:
                raise UserError(
                    f"the process of {model} was killed, probably out of memory: try a smaller -bs"
                ) from None


def bench(
    model: str, size: tuple[int, int] | None, batch_size: int, steps: int, device_name: str, precision: str
) -> dict[str, Any]:
    """Throughput of training on random pixels, with the input pipeline of a run, and on one batch in memory.

    Epochs of `steps` steps alternate between the two; figures are medians over four epochs of each. The weights are
    random: speed does not depend on them.

    Returns: images per second `synthetic` and `end_to_end`, the `ratios` of the epochs and their median, `data_seconds`
    per step, parameters, MACs, peak memory in bytes, and `utilization`: MACs per second as a fraction of those of a
    large matrix product.
    """
    backbone = build.get_backbone(model)
    size = size or (backbone.size, backbone.size)
    accelerator = device.make_accelerator(device_name, precision, backbone.cpu_bf16)
    net = build.create_model(backbone, CLASSES, None, size=size)
    macs = cost.macs(net, size)
    preprocess = replace(backbone.preprocess(size), crop_pct=recipes.mean_crop(AUGMENT.crop))
    with tempfile.TemporaryFile() as file, device.batch_errors(batch_size):
        real = _random_batches(file, preprocess, batch_size, steps, accelerator.device)
        synthetic_records, real_records = _train_alternately(net, backbone, (SyntheticBatches(real), real), accelerator)
        peak = cost.peak_memory(accelerator.device)
    rates, synthetic_rates = (
        [record["train_images_per_second"] for record in records] for records in (real_records, synthetic_records)
    )
    ratios = sorted(rate / synthetic for rate, synthetic in zip(rates, synthetic_rates, strict=True))
    rate = statistics.median(rates)
    matmul_rate = cost.matmul_rate(accelerator.device, DTYPES[accelerator.mixed_precision])
    environment = provenance.collect(accelerator.device, accelerator.mixed_precision.replace("no", "fp32"))
    del environment["command"]  # of this process
    return {
        "backbone": backbone.name,
        "size": size,
        "synthetic": statistics.median(synthetic_rates),
        "end_to_end": rate,
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "data_seconds": statistics.median(record["data_seconds"] for record in real_records) / steps,
        "parameters": cost.parameters(net),
        "macs": macs,
        "peak_memory_bytes": peak,
        "utilization": 3 * macs * rate / matmul_rate,  # a backward pass costs two forward passes
        "batch_size": batch_size,
        "steps": steps,
        **environment,
    }


def _random_batches(
    file: IO[bytes], preprocess: Preprocess, batch_size: int, steps: int, target: torch.device
) -> Batches:
    """An epoch of `steps` steps, its pixels in `file`."""
    n = steps * batch_size
    pixels = np.memmap(file, np.uint8, "w+", shape=(n, *stored_size(preprocess, None), 3))
    pixels[:] = np.random.default_rng(0).integers(0, 256, pixels.shape[1:], np.uint8)
    return Batches(
        pixels=pixels_to_device(pixels, target),
        indices=np.arange(n),
        labels=np.arange(n) % CLASSES,
        preprocess=preprocess,
        batch_size=batch_size,
        device=target,
    )


def _train_alternately(
    net: nn.Module, backbone: Backbone, sources: Sequence[Any], accelerator: Accelerator
) -> list[list[dict[str, Any]]]:
    """The records of `ROUNDS` epochs on each source, without the warm-up."""
    move_to(net, accelerator.device, sources[-1].memory_format)
    cost.reset_peak_memory(accelerator.device)
    records: list[list[dict[str, Any]]] = [[] for _ in sources]
    for _ in range(1 + ROUNDS):
        for batches, log in zip(sources, records, strict=True):
            task = Task(
                net=net,
                head=backbone.head,
                train=batches,
                augment=AUGMENT,
                validate=lambda _: (0.0, {}),
                recipe=recipes.clean(1, batches.steps, backbone.lr, pretrained=False),
                accelerator=accelerator,
                seed=0,
            )
            finetune(task, log.append)
            accelerator.free_memory()  # it keeps prepared optimizers
    return [epochs[1:] for epochs in records]
