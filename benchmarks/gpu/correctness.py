"""Sections: the results of the device are those of the CPU, in every number format."""

import copy
import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch._dynamo.utils import counters

from common.data.loader import Batches
from common.models import build
from common.models.registry import BACKBONES, MODERN
from common.spec import Augment
from common.training.autotune import compile_modes
from common.training.device import resolve_precision
from common.training.evaluate import evaluate
from common.transfer import linear_probe
from common.transfer.features import Extractor, extract_features
from common.transfer.folds import assign_folds

from .shared import CLASSES, DEVICE, Checks, accelerator_of, check, losses, make_batches, precisions

AUGMENTS = {
    "none": Augment(),
    "crop, flip": Augment(crop=0.5, flip=True),
    "dihedral": Augment(crop=0.7, dihedral=True),
    "shift, flip": Augment(shift=1 / 8, flip=True),
    "TrivialAugment": Augment(trivial=True),
}


def first_step(batches: Batches, augment: Augment) -> Tensor:
    """(B, 3, H, W) on the CPU: the images of the first training step."""
    iterator = batches.train(augment, seed=0)
    return torch.cat([next(iterator)[0].cpu() for _ in range(batches.micro_batches)])


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
    on_cpu = evaluate(copy.deepcopy(net), replace(batches[cpu], batch_size=8), accelerator_of("fp32", cpu=True))
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


def precision(smoke: bool) -> Checks:
    """Two steps of every backbone in every number format: finite, and close to float32."""
    rows = (
        [build.get_backbone(name) for name in ("timm:test_resnet", "timm:test_vit")] if smoke else [*BACKBONES, *MODERN]
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


def compilation(smoke: bool) -> Checks:
    """In every mode of `torch.compile` that `--tune` times, a network learns as without, and is compiled once."""
    model, size = ("timm:test_resnet", 32) if smoke else ("resnet18", 64)
    for micro_batches in [1] if smoke else [1, 2]:
        expected = losses(model, "fp32", size, 4, micro_batches)
        for mode in compile_modes(DEVICE, micro_batches):
            torch.compiler.reset()
            counters.clear()
            found = losses(model, "fp32", size, 4, micro_batches, mode)
            off = max(abs(a - b) for a, b in zip(found, expected, strict=False))
            graphs = counters["stats"]["unique_graphs"]
            ok = all(map(math.isfinite, found)) and off < 0.02 * max(expected) and graphs == 1
            title = f"{mode}, {micro_batches} micro-batches: as without, compiled once"
            yield check(title, ok, losses=found, difference=off, graphs=graphs)


def probe(smoke: bool) -> Checks:
    """Features in the device's own precision and the probe fitted to them, against float32 on the CPU."""
    names = ["timm:test_resnet", "timm:test_vit"] if smoke else ["resnet50", "efficientnet_lite0", "swin_t"]
    for row in map(build.get_backbone, names):
        size = row.size if row.fixed_size else max(64, row.min_size)
        batches = make_batches(torch.device("cpu"), n=200, size=size, resident=False)
        precision = resolve_precision(DEVICE, "auto", True)
        found, scores = [], []
        for device, number in ((DEVICE, precision), (torch.device("cpu"), "fp32")):
            extractor = Extractor(
                backbone=row, weights=None, sha256=None, preprocess=batches.preprocess, device=device,
                machine="", precision=number, seed=0,
            )  # fmt: skip
            found.append(extract_features(extractor, batches.pixels, range(200)).values)
            folds = assign_folds(batches.labels, None, 0)
            logits = linear_probe.out_of_fold(found[-1], batches.labels, CLASSES, folds)
            scores.append(float((logits.argmax(1) == batches.labels).mean()))
        alike = float(np.corrcoef(found[0].ravel(), found[1].ravel())[0, 1])
        ok = alike > 0.99 and abs(scores[0] - scores[1]) < 0.1 and min(scores) > 2 / CLASSES
        title = f"{row.name}, {precision}: features and probe as in float32 on the CPU"
        yield check(title, ok, correlation=alike, probe=scores[0], probe_on_cpu=scores[1])
