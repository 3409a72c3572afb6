"""Fabricated run folders for the tests of the report."""

import json
import re
from html import unescape
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from common.__main__ import main as command
from common.metrics import classification
from common.models.registry import BACKBONES
from common.report import svg
from common.report.runs import load_runs
from common.report.sections import Section, build_sections
from common.run.predictions import RunPredictions, write_confusion, write_predictions
from common.run.results import write_json

WEIGHTS = {row.name: row.weights for row in BACKBONES}
CLASSES = ("cat", "<script>alert(1)</script>", "猫 $x_1$ & b")
ACCURACIES = {"resnet50": 0.97, "convnext_tiny": 0.85, "swin_t": 0.6}


def fabricate(
    folder: Path, dataset: str, backbone: str, seed: int, accuracy: float, /, n: int = 120, **changes
) -> dict:
    """A run folder as a run writes it, with an accuracy of about `accuracy`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng([seed, *map(ord, dataset + backbone)])
    labels = np.arange(n) % 3
    logits = rng.normal(size=(n, 3)).astype(np.float32)
    logits[np.arange(n), np.where(rng.random(n) < accuracy, labels, (labels + 1) % 3)] += 6
    scores = {
        name: {"value": value, "interval": [value - 0.01, value + 0.01]}
        for name, value in classification.score(logits, labels).items()
    }
    position = list(ACCURACIES).index(backbone) if backbone in ACCURACIES else 9
    result = {
        "dataset": dataset, "fold": None, "backbone": backbone, "weights": WEIGHTS.get(backbone, "none"), "protocol": "clean",
        "chosen_on": "val", "seed": seed, "batch_size": 8, "micro_bs": 8, "steps_per_epoch": 10, "balanced_sampling": False,
        "recipe": {"name": "clean", "phases": [{"steps": 20, "lr": 1e-3}], "eval_every": 10}, "augment": {"crop": 1.0},
        "preprocess": {"size": [32, 32], "mean": [0.5, 0.5, 0.5]}, "classes": 3,
        "split": {"kind": "clean", "fingerprint": f"{seed:016x}", "train": 80, "val": 10, "test": n, "unused": 0},
        "split_file": None, "shots": None, "fraction": None, "subset": False, "caveats": [f"A leak of {dataset}."],
        "parameters": 1_000_000 * (3 - position % 3), "macs": 2_000_000_000 // (1 + position % 3), "commit": "abc", "python": "3.11", "torch": "2.15",
        "torchvision": "0.29", "timm": "1.0", "device": "A machine, 2 cores", "threads": 2, "precision": "fp32",
        "command": f"{dataset}.py -model {backbone} --seed {seed} --out '<b>'", "metric": "top1", "test": scores, "test_last": None,
        "temperature": None, "test_calibrated": None, "lr_search": None, "best": {"epoch": 2, "val_top1": accuracy},
        "cost": {"train_images_per_second": 10.0 + position, "peak_memory_bytes": 10**9, "train_seconds": 5.0, "test_images_per_second": 9.0},
    }  # fmt: skip
    result |= changes
    names = tuple(f"{i}.png" for i in range(n))
    write_predictions(folder, RunPredictions(names, labels, CLASSES, logits))
    write_confusion(folder, classification.confusion(logits, labels), CLASSES)
    part = result["chosen_on"]
    epochs = [{"epoch": e, f"{part}_top1": accuracy * e / 2} for e in (1, 2)]
    (folder / "log.jsonl").write_text("".join(f"{json.dumps(epoch)}\n" for epoch in epochs))
    write_json(folder / "config.json", {})
    write_json(folder / "result.json", result)
    return result


def fabricate_grid(tmp_path: Path) -> Path:
    """Three backbones, two seeds, on two datasets and BreakHis, where one magnification lacks a backbone."""
    for dataset in ("eurosat", "dtd", "breakhis-40x", "breakhis-100x"):
        for backbone, accuracy in ACCURACIES.items():
            for seed in (0, 1):
                if (dataset, backbone) != ("breakhis-40x", "swin_t"):
                    fabricate(tmp_path / "runs" / f"{dataset}-{backbone}-{seed}", dataset, backbone, seed, accuracy)
    return tmp_path / "runs"


def build(folder: Path, domains: dict[str, str] | None = None) -> tuple[Section, ...]:
    return build_sections(load_runs([folder]).finished, domains or {})


def write_page(folder: Path) -> str:
    out = folder.parent / "out" / "report.html"
    command(["report", str(folder), "-o", str(out)])
    return out.read_text("utf-8")


def page_text(folder: Path) -> str:
    """The text of the page without its charts, which take most of the seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(svg, "to_svg", lambda figure, alt: Markup(""))
        return text(write_page(folder))


def text(html: str) -> str:
    return " ".join(
        unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script)>.*?</\1>", "", html, flags=re.S))).split()
    )
