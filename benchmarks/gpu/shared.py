"""What the sections share: this device, synthetic batches, tasks, short runs."""

import gc
import io
import math
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from common import main as run_script
from common.data.loader import Batches, pixels_to_device
from common.models import build
from common.spec import Augment, Dataset, Phase, Preprocess, Recipe
from common.training.cpu_kernels import move_to
from common.training.device import make_accelerator
from common.training.finetune import finetune
from common.training.task import Task

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLASSES = 10
Checks = Iterator[dict]


def check(name: str, ok: bool, **figures: object) -> dict:
    return {"check": name, "ok": bool(ok), **figures}


def make_batches(device: torch.device, n: int = 64, size: int = 32, resident: bool = True, **more) -> Batches:
    """Blurred noise with the label in its brightness, the same on every device."""
    rng = np.random.default_rng(0)
    noise = torch.from_numpy(rng.normal(0, 60, (n, 3, 5, 4)).astype(np.float32))
    labels = np.arange(n) % CLASSES
    images = nn.functional.interpolate(noise, (24, 24), mode="bicubic") + torch.from_numpy(
        60 + 13.0 * labels[:, None, None, None]
    )
    pixels = images.clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
    if resident:
        moved = pixels_to_device(pixels, device)
        pixels = moved if isinstance(moved, Tensor) else torch.from_numpy(moved)
    preprocess = Preprocess(size=(size, size), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3)
    return Batches(
        pixels=pixels, indices=np.arange(n), labels=labels, preprocess=preprocess, device=device,
        **{"batch_size": 16, **more},
    )  # fmt: skip


def accelerator_of(precision: str, micro_batches: int = 1, cpu: bool = False) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # one precision per process otherwise
    return make_accelerator("cpu" if cpu else DEVICE.type, precision, True, micro_batches)


def precisions() -> list[str]:
    return ["fp32", "bf16", "fp16"] if DEVICE.type == "cuda" else ["fp32", "bf16"]


def task_of(net: nn.Module, head: str, train: Batches, accelerator: Accelerator, steps: int, every: int) -> Task:
    phase = Phase(steps=steps, lr=1e-3, weight_decay=0.05, schedule="constant")
    move_to(net, DEVICE, torch.channels_last)
    return Task(
        net=net, head=head, train=train, augment=Augment(),
        validate=lambda net: (0.0, {}), recipe=Recipe(name="check", phases=(phase,), eval_every=every),
        accelerator=accelerator, seed=0,
    )  # fmt: skip


def losses(
    model: str, precision: str, size: int, steps: int, micro_batches: int = 1, compile_mode: str | None = None
) -> list[float]:
    """The training loss of each of the first steps of a random network."""
    row, accelerator = build.get_backbone(model), accelerator_of(precision, micro_batches)
    torch.manual_seed(0)
    net = build.create_model(row, CLASSES, None)
    if compile_mode:
        backend = "inductor" if DEVICE.type == "cuda" else "aot_eager"  # without the minutes of a C++ compiler
        net.compile(mode=compile_mode, backend=backend, dynamic=False)
    train = make_batches(DEVICE, size=size, micro_batches=micro_batches)
    found: list[float] = []
    finetune(task_of(net, row.head, train, accelerator, steps, 1), lambda record: found.append(record["train_loss"]))
    if not all(torch.isfinite(p).all() for p in net.parameters()):
        found.append(math.nan)
    return found


def run_sheet(dataset: Dataset, *options: str) -> tuple[int, str]:
    """Exit status and stderr of a run in this process."""
    stdout, stderr = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    AcceleratorState._reset_state(reset_partial_state=True)
    code = 0
    with redirect_stderr(stderr), redirect_stdout(stdout):
        try:
            run_script(dataset, [*options])
        except SystemExit as stopped:
            code = stopped.code
    gc.collect()  # the exceptions of a run that failed refer to its tensors
    return code, stderr.buffer.getvalue().decode()
