"""Sections: what waits for the device, throughput, memory and energy, beside other loops and the limit."""

import json
import math
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from common.data.loader import Batches
from common.deploy.bench import bench_each
from common.metrics import cost, energy
from common.models import build
from common.models.registry import BACKBONES
from common.recommend import cost_model
from common.training.device import resolve_precision
from common.training.finetune import finetune

from .shared import CLASSES, DEVICE, Checks, accelerator_of, check, make_batches, precisions, task_of

ROOT = Path(__file__).resolve().parents[2]


class Operators(TorchDispatchMode):
    """Counts operators, and those that wait for the device."""

    WAITING = ("_local_scalar_dense", "nonzero", "unique_dim", "_unique2", "masked_select")

    def __init__(self) -> None:
        super().__init__()
        self.all = self.waiting = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.all += 1
        self.waiting += function.overloadpacket.__name__ in self.WAITING
        return function(*args, **(kwargs or {}))


@dataclass(frozen=True, kw_only=True)
class CountedBatches(Batches):
    """Records the counts of operators at every step."""

    operators: Operators
    counts: list[tuple[int, int]] = field(default_factory=list)

    def train(self, *args: object, **more: object) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in super().train(*args, **more):
            self.counts.append((self.operators.all, self.operators.waiting))
            yield batch


def syncs(smoke: bool) -> Checks:
    """A training step does not wait for the device; float16's loss scaler may, once."""
    row = build.get_backbone("timm:test_resnet")
    for name in precisions():
        accelerator, operators = accelerator_of(name), Operators()
        plain = make_batches(DEVICE)
        fields = {key: getattr(plain, key) for key in Batches.__dataclass_fields__}
        train = CountedBatches(**fields, operators=operators)
        net = build.create_model(row, CLASSES, None)
        with warnings.catch_warnings(record=True) as caught, operators:
            warnings.simplefilter("always")
            if DEVICE.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")
            finetune(task_of(net, row.head, train, accelerator, 8, 8), lambda record: None)
            if DEVICE.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")
        steps = np.diff(train.counts[2:], axis=0)  # after the first, which sets up
        on_device = sum("synchronizing" in str(warning.message) for warning in caught) / len(train.counts)
        figures = {"operators": float(np.median(steps[:, 0])), "waiting": int(steps[:, 1].max())}
        ok = figures["waiting"] <= (name == "fp16") and on_device <= 2
        yield check(f"{name}: nothing waits in a step", ok, **figures, cuda_syncs_per_step=on_device)


def bench(smoke: bool) -> Checks:
    """Throughput of real and synthetic images: data loading keeps up."""
    models = ["timm:test_resnet"] if smoke else [row.name for row in BACKBONES]
    size, batch_size, steps = ((32, 32), 8, 2) if smoke else (None, 64, 20)
    for row in bench_each(models, size, batch_size, steps, DEVICE.type, "auto"):
        figures = {key: row[key] for key in ("end_to_end", "synthetic", "ratio", "peak_memory_bytes", "utilization")}
        ok = row["end_to_end"] > 0 and row["ratio"] > (0.2 if smoke else 0.9)
        yield check(f"{row['backbone']}: data loading keeps up", ok, precision=row["precision"], **figures)


def peak(smoke: bool) -> Checks:
    """The peak memory of training is what `recommend` estimates."""
    models = [("timm:test_convnext", 96, 128)] if smoke else [(row.name, 224, 64) for row in BACKBONES]
    for name, size, batch_size in models:
        row = build.get_backbone(name)
        size, precision = (row.size if row.fixed_size else size, resolve_precision(DEVICE, "auto", row.cpu_bf16))
        workload = cost_model.Workload(
            row=row, classes=CLASSES, batch_size=batch_size, image_size=(size, size), device=DEVICE,
            device_name="", precision=precision,
        )  # fmt: skip
        estimate = cost_model._estimate(workload, measure=True).peak_memory_bytes
        cost.reset_peak_memory(DEVICE)
        rate = images_per_second(row.name, precision, size, batch_size, steps=4)
        found = cost.peak_memory(DEVICE)
        off = abs(estimate / found - 1) if estimate else math.inf
        figures = {"estimate": estimate, "found": found, "images_per_second": rate}
        yield check(f"{row.name}, {precision}: peak memory as estimated", off < 0.25, **figures)


def images_per_second(name: str, precision: str, size: int, batch_size: int, steps: int) -> float:
    """Of our loop, in the second half of `steps` training steps on images that are on the device."""
    row, accelerator = build.get_backbone(name), accelerator_of(precision)
    train = make_batches(DEVICE, n=max(1024, batch_size), size=size, batch_size=batch_size)
    net, rates = build.create_model(row, CLASSES, None), []
    finetune(
        task_of(net, row.head, train, accelerator, steps, steps // 2),
        lambda record: rates.append(record["train_images_per_second"]),
    )
    return rates[-1]


def joules(smoke: bool) -> Checks:
    """The GPU's energy counter counts while it computes; a CPU has none that is readable."""
    steps, read = 4 if smoke else 300, energy.meter(DEVICE)
    before, start = read(), time.perf_counter()
    images_per_second("timm:test_resnet" if smoke else "resnet50", "fp32" if smoke else "bf16", 64, 64, steps)
    watts = (read() - before) / (time.perf_counter() - start)
    if DEVICE.type == "cpu":
        yield check("no counter on a CPU", math.isnan(watts))
    else:
        yield check("the energy counter counts", 20 < watts < 2000, watts=watts)


def bare_rate(net: nn.Module, batch_size: int, size: int, steps: int) -> float:
    """Images per second of a loop of nothing but the step: bfloat16, channels last, fused SGD, a CUDA graph on a GPU."""
    net = net.to(DEVICE, memory_format=torch.channels_last).train()
    images = torch.randn(batch_size, 3, size, size, device=DEVICE).to(memory_format=torch.channels_last)
    labels = torch.arange(batch_size, device=DEVICE) % CLASSES
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(DEVICE.type, torch.bfloat16, cache_enabled=False):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()

    run = _as_graph(step) if DEVICE.type == "cuda" else step
    run()
    with cost.Timer(DEVICE) as clock:
        for _ in range(steps):
            run()
    return steps * batch_size / clock.seconds


def _as_graph(step: Callable[[], None]) -> Callable[[], None]:
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # warm-up, as torch's documentation of CUDA graphs asks for
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def limit(smoke: bool) -> Checks:
    """ResNet-18 on 32 pixels, where a GPU waits for Python most: our loop beside the bare one."""
    batch_size, steps = (16, 2) if smoke else (512, 200)
    net = build.create_model(build.get_backbone("resnet18"), CLASSES, None)
    bare = bare_rate(net, batch_size, 32, steps)
    ours = images_per_second("resnet18", "bf16", 32, batch_size, 2 * steps)
    least = 0.2 if smoke else 0.5
    yield check(f"resnet18: at least {least} of the bare loop", ours > least * bare, images_per_second=ours, bare=bare)


def loops(smoke: bool) -> Checks:
    """`compare_loops.py` for four networks: the paper's loop, torchvision's, timm's."""
    models = (
        ["timm:test_resnet"] if smoke else ["resnet50", "efficientnet_lite0", "convnext_tiny", "mobilenet_v3_large"]
    )
    size = "--images 8 --size 32 -bs 4 --steps 2 --workers 1" if smoke else "--images 2048 -bs 64 --steps 32"
    for model in models:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder, "loops.json")
            command = [
                sys.executable,
                str(ROOT / "benchmarks" / "compare_loops.py"),
                "--models",
                model,
                "--rounds",
                "1",
            ]
            run = subprocess.run([*command, *size.split(), "--out", str(out)], capture_output=True, text=True)
            if run.returncode:
                yield check(f"{model}: the loops run", False, stderr=run.stderr[-1000:])
                continue
            rates = json.loads(out.read_text())["medians"][model]["images_per_second"]
        ratios = [rates[name] for name in rates if name.startswith("ours/")]
        ok = len(ratios) == 3 and min(ratios) > (0.1 if smoke else 0.95)
        yield check(f"{model}: not slower than the other loops", ok, **rates)
