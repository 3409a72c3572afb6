"""The sections of `gpu_check.py`: each yields checks; a failed one states what is wrong on this device."""

import argparse
import copy
import io
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import digits
from common import main as run_script
from common.data.loader import Batches, pixels_to_device
from common.deploy.bench import bench_each
from common.errors import OUT_OF_MEMORY
from common.models import build
from common.models.registry import BACKBONES, MODERN
from common.spec import Augment, Phase, Preprocess, Recipe
from common.training.cpu_kernels import move_to
from common.training.device import make_accelerator
from common.training.evaluate import evaluate
from common.training.finetune import finetune
from common.training.task import Task
from common.transfer.features import Extractor, extract_features

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
CLASSES = 10
AUGMENTS = {
    "none": Augment(),
    "crop, flip": Augment(crop=0.5, flip=True),
    "dihedral": Augment(crop=0.7, dihedral=True),
    "shift, flip": Augment(shift=1 / 8, flip=True),
    "TrivialAugment": Augment(trivial=True),
}
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
    preprocess = Preprocess(
        size=(size, size), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
    )
    return Batches(
        pixels=pixels, indices=np.arange(n), labels=labels, preprocess=preprocess, device=device,
        **{"batch_size": 16, **more},
    )  # fmt: skip


def first_step(batches: Batches, augment: Augment) -> Tensor:
    """(B, 3, H, W) on the CPU: the images of the first training step."""
    iterator = batches.train(augment, seed=0)
    return torch.cat([next(iterator)[0].cpu() for _ in range(batches.micro_batches)])


def accelerator_of(precision: str, micro_batches: int = 1, cpu: bool = False) -> Accelerator:
    AcceleratorState._reset_state(reset_partial_state=True)  # one precision per process otherwise
    return make_accelerator("cpu" if cpu else DEVICE.type, precision, True, micro_batches)


def precisions() -> list[str]:
    return ["fp32", "bf16", "fp16"] if DEVICE.type == "cuda" else ["fp32", "bf16"]


def branches(smoke: bool) -> Checks:
    """Augmentation, streaming, evaluation and features on the device against two micro-batches on the CPU."""
    cpu = torch.device("cpu")
    for name, augment in AUGMENTS.items():
        expected = first_step(make_batches(cpu, micro_batches=2, resident=False), augment)
        for resident in (True, False):
            found = first_step(make_batches(DEVICE, resident=resident), augment)
            off = ((found - expected).abs() > 0.02).float().mean().item()  # rounding ties of a few pixels
            title = f"{name}, pixels {'on the device' if resident else 'streamed'}: as on the CPU"
            yield check(title, off < 1e-3, differing=off)
    batches = {device: make_batches(device) for device in (DEVICE, cpu)}
    row = build.get_backbone("timm:test_resnet")
    torch.manual_seed(0)
    net = build.create_model(row, CLASSES, None)
    on_cpu = evaluate(
        copy.deepcopy(net), replace(batches[cpu], batch_size=8), accelerator_of("fp32", cpu=True)
    )
    logits = evaluate(net.to(DEVICE), batches[DEVICE], accelerator_of("fp32"))
    off = float(np.abs(logits - on_cpu).max() / on_cpu.std())
    yield check("evaluation: logits as on the CPU", off < 1e-2, relative_difference=off)
    values = []
    for device, size in ((DEVICE, 16), (cpu, 7)):
        extractor = Extractor(
            backbone=row, weights=None, sha256=None, preprocess=batches[cpu].preprocess, device=device,
            machine="", precision="fp32", seed=0, batch_size=size,
        )  # fmt: skip
        pixels = make_batches(cpu, resident=False).pixels
        values.append(extract_features(extractor, pixels, range(40)).values)
    off = float(np.abs(values[0] - values[1]).max() / values[1].std())
    yield check("features as on the CPU", off < 1e-2, relative_difference=off)


def task_of(
    net: nn.Module, head: str, train: Batches, accelerator: Accelerator, steps: int, every: int
) -> Task:
    phase = Phase(steps=steps, lr=1e-3, weight_decay=0.05, schedule="constant")
    move_to(net, DEVICE, torch.channels_last)
    return Task(
        net=net, head=head, train=train, augment=Augment(),
        validate=lambda net: (0.0, {}), recipe=Recipe(name="check", phases=(phase,), eval_every=every),
        accelerator=accelerator, seed=0,
    )  # fmt: skip


def losses(model: str, precision: str, size: int, steps: int, micro_batches: int = 1) -> list[float]:
    """The training loss of each of the first steps of a random network."""
    row, accelerator = build.get_backbone(model), accelerator_of(precision, micro_batches)
    torch.manual_seed(0)
    net = build.create_model(row, CLASSES, None)
    train = make_batches(DEVICE, size=size, micro_batches=micro_batches)
    found: list[float] = []
    finetune(
        task_of(net, row.head, train, accelerator, steps, 1),
        lambda record: found.append(record["train_loss"]),
    )
    if not all(torch.isfinite(p).all() for p in net.parameters()):
        found.append(math.nan)
    return found


def precision(smoke: bool) -> Checks:
    """Two steps of every backbone in every number format: finite, and close to float32."""
    rows = (
        [build.get_backbone(name) for name in ("timm:test_resnet", "timm:test_vit")]
        if smoke
        else [*BACKBONES, *MODERN]
    )
    for row in rows:
        size = row.size if row.fixed_size else max(64, row.min_size)
        expected = losses(row.name, "fp32", size, 2)
        yield check(f"{row.name}, fp32: finite", all(map(math.isfinite, expected)), losses=expected)
        for name in precisions()[1:]:
            found = losses(row.name, name, size, 2)
            off = max(abs(a - b) for a, b in zip(found, expected, strict=False))
            ok = all(map(math.isfinite, found)) and off < 0.1 * max(expected)
            yield check(f"{row.name}, {name}: finite, close to fp32", ok, losses=found, difference=off)


def accumulation(smoke: bool) -> Checks:
    """Four micro-batches give the steps of one batch, also under the loss scaler of float16 (no batch norm here)."""
    for name in precisions():
        one, four = (losses("timm:test_convnext", name, 32, 3, n) for n in (1, 4))
        off = max(abs(a - b) for a, b in zip(one, four, strict=True))
        tolerance = {"fp32": 1e-3, "fp16": 1e-2, "bf16": 5e-2}[name]
        ok = off < tolerance and one[0] != one[-1]
        yield check(f"{name}: four micro-batches as one batch", ok, one=one, four=four)


# Deterministic kernels; cuDNN's choice by timing would differ between two runs
DETERMINISTIC = """
import runpy, sys
import torch
from common.training import device
prepare = device.prepare
def deterministic(*args):
    prepare(*args)
    torch.backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
device.prepare = deterministic
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
SHORT = "-model timm:test_resnet --weights none --image_size 32 -bs 64 --steps 16 --eval_every 8 --save_every 2".split()


def start_run(*options: str, deterministic: bool = True) -> subprocess.Popen:
    start = ["-c", DETERMINISTIC] if deterministic else []
    environment = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *start, str(ROOT / "digits.py"), *options]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def resume(smoke: bool) -> Checks:
    """A run killed after a checkpoint and resumed ends with the bits of an uninterrupted one."""
    with tempfile.TemporaryDirectory() as name:
        for deterministic in [True] if DEVICE.type == "cpu" else [True, False]:
            folder = Path(name, str(deterministic))
            whole, killed = folder / "whole", folder / "killed"
            reference = start_run(*SHORT, "--out", str(whole), deterministic=deterministic)
            codes = [reference.wait()]
            victim = start_run(*SHORT, "--out", str(killed), deterministic=deterministic)
            while victim.poll() is None and not (killed / "checkpoints" / "last.pt").exists():
                time.sleep(0.005)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            codes.append(start_run("--resume", str(killed), deterministic=deterministic).wait())
            yield from compare_runs(whole, killed, codes, deterministic)


def compare_runs(whole: Path, killed: Path, codes: list[int], deterministic: bool) -> Checks:
    kind = "deterministic" if deterministic else "default"
    if any(codes):
        yield check(f"{kind} kernels: both runs end", False, exit_statuses=codes)
        return
    resumed_at = json.loads((killed / "result.json").read_text())["resumed_at"]
    yield check(f"{kind} kernels: resumed at a step", bool(resumed_at), resumed_at=resumed_at)
    logits = [np.load(folder / "test_logits.npy") for folder in (whole, killed)]
    off = float(np.abs(logits[0] - logits[1]).max())
    same = all(
        (whole / name).read_bytes() == (killed / name).read_bytes()
        for name in ("best.safetensors", "test_logits.npy")
    )
    yield check(
        f"{kind} kernels: the same bits", same or not deterministic, same=same, largest_difference=off
    )


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    """`size` more bytes than are in use, of the GPU or of this process."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(DEVICE).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + size) / total)
        yield
        torch.cuda.set_per_process_memory_fraction(1.0)
        return
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + size, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, limits)


def run_digits(*options: str) -> tuple[int, str]:
    """Exit status and stderr of a run in this process."""
    stderr = io.StringIO()
    AcceleratorState._reset_state(reset_partial_state=True)
    with redirect_stderr(stderr), redirect_stdout(io.StringIO()):
        try:
            run_script(digits.DATASET, [*options])
        except SystemExit as stopped:
            return stopped.code, stderr.getvalue()
    return 0, stderr.getvalue()


def memory(smoke: bool) -> Checks:
    """Out of memory is one line that names a smaller batch, and --micro_bs trains the batch that did not fit."""
    model, size, budget = ("timm:test_vit", 128, 48 << 20) if smoke else ("efficientnet_lite0", 1024, 2 << 30)
    options = f"-model {model} --weights none --image_size 160 -bs {size} --steps 1 --eval_every 1".split()
    with tempfile.TemporaryDirectory() as folder:
        code, text = run_digits(
            *options, "--micro_bs", "16", "--out", f"{folder}/free"
        )  # loads all libraries
        yield check("without a limit it trains", code == 0, exit_status=code, stderr=text[-500:])
        with little_memory(budget):
            code, text = run_digits(*options, "--out", f"{folder}/large")
            errors = [line for line in text.splitlines() if line.startswith("error:")]
            ok = code == 2 and len(errors) == 1 and f"{OUT_OF_MEMORY} {size}" in errors[0]
            yield check("out of memory is one line", ok, exit_status=code, errors=errors or text[-500:])
            code, text = run_digits(*options, "--micro_bs", "16", "--out", f"{folder}/micro")
            yield check("--micro_bs 16 fits", code == 0, exit_status=code, stderr=text[-500:])


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
        figures = {
            key: row[key] for key in ("end_to_end", "synthetic", "ratio", "peak_memory_bytes", "utilization")
        }
        ok = row["end_to_end"] > 0 and (smoke or row["ratio"] > 0.9)
        yield check(f"{row['backbone']}: data loading keeps up", ok, precision=row["precision"], **figures)


SECTIONS = {f.__name__: f for f in (branches, precision, accumulation, resume, memory, syncs, bench)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["CLASH_CACHE"] = cache
        for found in SECTIONS[options.section](options.smoke):
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
