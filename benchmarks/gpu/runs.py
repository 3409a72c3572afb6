"""Sections: whole runs, killed and resumed, with too little memory, to a known accuracy."""

import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch

import digits
import eurosat
from common.errors import OUT_OF_MEMORY, UserError
from common.models import build, weights
from common.spec import Dataset
from common.sweep.process import Process

from .shared import DEVICE, Checks, check, run_sheet

ROOT = Path(__file__).resolve().parents[2]

# Runs a data sheet with deterministic kernels; cuDNN's choice by timing would differ between two runs
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
SECONDS = 600  # more than a short run takes
SHORT = "-model timm:test_resnet --weights none --image_size 32 -bs 64 --steps 16 --eval_every 8 --save_every 2".split()


def start_run(folder: Path, *options: str, deterministic: bool = True) -> Process:
    script = folder / "deterministic.py"
    script.write_text(DETERMINISTIC)
    command = [*[str(script)] * deterministic, str(ROOT / "digits.py"), *options]
    return Process(command, {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}, folder / "log")


def resume(smoke: bool) -> Checks:
    """A run killed after a checkpoint and resumed ends with the bits of an uninterrupted one."""
    with tempfile.TemporaryDirectory() as name:
        for deterministic in [True] if DEVICE.type == "cpu" else [True, False]:
            folder = Path(name, str(deterministic))
            folder.mkdir()
            whole, killed = folder / "whole", folder / "killed"
            start = partial(start_run, folder, deterministic=deterministic)
            codes = [start(*SHORT, "--out", str(whole)).wait(SECONDS)]
            victim = start(*SHORT, "--out", str(killed))
            while victim.wait(0.005) is None and not (killed / "checkpoints" / "last.pt").exists():
                pass
            victim.kill()
            victim.wait(SECONDS)
            codes.append(start("--resume", str(killed)).wait(SECONDS))
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
        (whole / name).read_bytes() == (killed / name).read_bytes() for name in ("best.safetensors", "test_logits.npy")
    )
    yield check(f"{kind} kernels: the same bits", same or not deterministic, same=same, largest_difference=off)


@contextmanager
def little_memory(size: int) -> Iterator[None]:
    """`size` more bytes than are in use, of the GPU or of this process."""
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(DEVICE).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + size) / total)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return
    status = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def memory(smoke: bool) -> Checks:
    """Out of memory is one line that names a smaller batch, and --micro_bs trains the batch that did not fit."""
    model, size, side, budget = (
        ("timm:test_vit", 512, 96, 200 << 20) if smoke else ("efficientnet_lite0", 1024, 160, 2 << 30)
    )
    options = f"-model {model} --weights none --image_size {side} -bs {size} --steps 1 --eval_every 1".split()
    with tempfile.TemporaryDirectory() as folder:
        code, text = run_sheet(
            digits.DATASET, *options, "--micro_bs", "16", "--out", f"{folder}/free"
        )  # loads all libraries
        yield check("without a limit it trains", code == 0, exit_status=code, stderr=text[-500:])
        with little_memory(budget):
            code, text = run_sheet(digits.DATASET, *options, "--out", f"{folder}/large")
            errors = [line for line in text.splitlines() if line.startswith("error:")]
            ok = code == 3 and len(errors) == 1 and f"{OUT_OF_MEMORY} {size}" in errors[0]
            yield check("out of memory is one line", ok, exit_status=code, errors=errors or text[-500:])
            code, text = run_sheet(digits.DATASET, *options, "--micro_bs", "16", "--out", f"{folder}/micro")
            yield check("--micro_bs 16 fits", code == 0, exit_status=code, stderr=text[-500:])


def target(smoke: bool) -> Checks:
    """A run reaches a known accuracy; its seconds. EuroSAT if its images and pretrained weights are here, else the digits."""
    sheet, goal, options = _target_run(smoke)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        start = time.perf_counter()
        code, text = run_sheet(sheet, *options.split(), "--out", str(out))
        seconds = time.perf_counter() - start
        if code:
            yield check(f"{sheet.name}: trains", False, exit_status=code, stderr=text[-500:])
            return
        result = json.loads((out / "result.json").read_text())
        records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    reached = next((r["train_seconds"] for r in records if r["val_top1"] >= goal), None)
    top1 = result["test"]["top1"]["value"]
    yield check(
        f"{sheet.name}: {100 * goal:.1f} % on test", top1 >= goal, top1=top1, train_seconds=result["cost"]["train_seconds"],
        train_seconds_to_goal_on_val=reached, seconds_with_data=seconds, joules=result["cost"]["joules"],
    )  # fmt: skip


def _target_run(smoke: bool) -> tuple[Dataset, float, str]:
    """The data sheet, the accuracy to reach, the options."""
    short = "-model timm:test_resnet --weights none --image_size 32 -bs 64 --steps 100 --lr 3e-3"
    if smoke:
        return digits.DATASET, 0.9, short
    folders = [ROOT / "data" / "eurosat", Path(os.environ.get("CLASH_SHARED", "shared"), "data", "eurosat")]
    data = next((folder for folder in folders if folder.is_dir()), None)
    try:
        weights.fetch(build.get_backbone("efficientnet_lite0"), "imagenet", offline=True)
    except UserError:
        data = None
    if data is None:
        return digits.DATASET, 0.97, short.replace("100", "1000")
    return (eurosat.DATASET, 0.987, f"-model efficientnet_lite0 --image_size 64 -bs 128 --data_dir {data} --offline")
