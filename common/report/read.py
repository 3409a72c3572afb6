"""Run folders -> rows: a frozen record per finished run. Reads `result.json` alone, so that thousands take seconds."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build
from ..run.results import RESULT

SCRATCH = "from scratch"
# not the number format nor the size of pieces: a sweep tries one seed again with others, and it is still a seed of the same
SETTINGS = ("recipe", "augment", "balanced_sampling", "preprocess", "batch_size")
METRICS = {
    "top1": "top1",
    "top5": "top5",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "nll": "NLL",
    "ece": "ECE",
}
SHOWN = ("top1", "macro_f1", "nll", "ece")  # whatever the headline
Score = tuple[float, tuple[float, float] | None]  # a fraction, or nats; its 95 % interval over test images


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What runs must share before their scores stand in one table."""

    protocol: str
    chosen_on: str
    split: str  # whose split: "clean" or "paper"
    start: str  # what the weights have seen: "ImageNet-1k" ..., or `SCRATCH`
    subset: bool
    few: str  # "10 shots", "0.1 of train"; "": all of train

    @property
    def treated(self) -> str:
        """What was done to the network."""
        if self.protocol == "probe":
            return "random and frozen" if self.start == SCRATCH else "frozen"
        return SCRATCH if self.start == SCRATCH else "fine-tuned"

    @property
    def title(self) -> str:
        begin = self.treated + f" from {self.start}" * (self.start != SCRATCH)
        more = ("the paper's split" * (self.split == "paper"), self.few, "subsets" * self.subset)
        return ", ".join([f"{begin}, protocol {self.protocol}", *filter(None, more)])


@dataclass(frozen=True, kw_only=True)
class Row:
    """A finished run."""

    folder: Path
    terms: Terms
    sheet: str
    dataset: str  # its name, or that of the folder of own images
    fold: int | None
    split_file: str | None
    fingerprint: str  # of the split, which depends on the seed, too
    tested: str  # the fingerprint of the test images, which does not; "" in older results
    classes: int
    images: tuple[int, int, int]  # in train, val, test
    backbone: str
    size: tuple[int, int]  # (H, W) in pixels
    epochs: int
    seed: int
    settings: str  # all else that was set: runs that differ in their seed alone share it
    metric: str  # the headline of `scores`
    scores: Mapping[str, Score]
    last: float | None  # the headline after the last epoch, whichever was chosen
    calibrated: Mapping[str, float]  # scores after temperature scaling; empty: not done
    temperature: float | None
    chosen: float | None  # the headline on validation that chose the epoch; None: test chose it
    lr_search: tuple[tuple[float, int, float | None], ...]  # (rate, after so many steps, validation score)
    cost: Mapping[str, float]  # what was recorded of `COSTS` in tables.py
    machine: str
    threads: int
    precision: str
    micro_bs: int
    versions: Mapping[str, str]
    commit: str | None
    command: str
    caveats: tuple[str, ...]

    @property
    def value(self) -> float:
        """The headline score."""
        return self.scores[self.metric][0]


@dataclass(frozen=True, kw_only=True)
class Found:
    rows: tuple[Row, ...]
    unfinished: tuple[Path, ...]  # a run is at work there, or ended early
    unreadable: tuple[tuple[Path, str], ...]  # no result of ours, and why


def read(folders: Sequence[Path]) -> Found:
    """All runs in the folders and below them, in the order of their paths.

    Raises:
        UserError: a folder is not there, or there is no finished run.
    """
    rows, unfinished, unreadable = [], [], []
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"no folder {folder}: expected run folders, or folders that hold some")
    for folder in dict.fromkeys(run for parent in folders for run in _runs(parent)):
        if not (folder / RESULT).exists():
            unfinished.append(folder)
            continue
        try:
            rows.append(row_of(json.loads((folder / RESULT).read_bytes()), folder))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            unreadable.append((folder, f"{type(error).__name__}: {error}"))
    if not rows:
        there = f"{len(unfinished)} unfinished, {len(unreadable)} unreadable"
        raise UserError(f"no finished run in {', '.join(map(str, folders))} ({there}): each holds a {RESULT}")
    return Found(rows=tuple(rows), unfinished=tuple(unfinished), unreadable=tuple(unreadable))


def row_of(result: Mapping[str, Any], folder: Path) -> Row:
    """What `result.json` holds, as a row.

    Raises:
        LookupError, TypeError, AttributeError, ValueError, ArithmeticError: it holds something else.
    """
    split, metric = result["split"], result["metric"]
    scores = {name: _score(**score) for name, score in result["test"].items()}
    if not {*SHOWN, metric} <= scores.keys() & set(METRICS):
        raise LookupError(f"no {metric} or other score among {', '.join(scores)}")
    height, width = result["preprocess"]["size"]
    few = (f"{result['shots']} shots" if result.get("shots") else "") or (
        f"{result['fraction']} of train" if result.get("fraction") else ""
    )
    settings = {name: result.get(name) for name in SETTINGS}
    if result.get("lr_search"):  # every seed has searched for its own rate
        settings["recipe"] = {
            **result["recipe"],
            "phases": [{**p, "lr": "auto"} for p in result["recipe"]["phases"]],
        }
    cost = {"parameters": result["parameters"], "macs": result["macs"], **result["cost"]}
    return Row(
        folder=folder,
        terms=Terms(
            protocol=result["protocol"],
            chosen_on=result["chosen_on"],
            split=split["kind"],
            start=start(result["backbone"], result["weights"]),
            subset=result["subset"],
            few=few,
        ),
        sheet=result["dataset"],
        dataset=result.get("folder") or result["dataset"],
        fold=result.get("fold"),
        split_file=result.get("split_file"),
        fingerprint=split["fingerprint"],
        tested=split.get("test_fingerprint", ""),
        classes=result["classes"],
        images=(split["train"], split["val"], split["test"]),
        backbone=result["backbone"],
        size=(height, width),
        epochs=_epochs(result),
        seed=result["seed"],
        settings=json.dumps(settings, sort_keys=True),
        metric=metric,
        scores=scores,
        last=(result.get("test_last") or {}).get(metric),
        calibrated={name: s["value"] for name, s in (result.get("test_calibrated") or {}).items()},
        temperature=result.get("temperature"),
        chosen=result["best"].get(f"val_{metric}"),
        lr_search=tuple((t["lr"], t["steps"], t["score"]) for t in result.get("lr_search") or ()),
        cost={name: float(value) for name, value in cost.items() if value is not None},
        machine=result["device"],
        threads=result["threads"],
        precision=result["precision"],
        micro_bs=result.get("micro_bs", result["batch_size"]),
        versions={name: result[name] for name in ("python", "torch", "torchvision", "timm")},
        commit=result.get("commit"),
        command=result.get("command", ""),
        caveats=(*result["caveats"], *_changes(result)),
    )


def _epochs(result: Mapping[str, Any]) -> int:
    """That were trained; as many as the recipe allows, where nothing tells: a probe has none."""
    steps = (result.get("last") or {}).get("step") or sum(p["steps"] for p in result["recipe"]["phases"])
    return round(steps / result["steps_per_epoch"])


def _changes(result: Mapping[str, Any]) -> Iterator[str]:
    for change in result.get("changed", ()):
        for name, (before, after) in ((n, c) for n, c in change.items() if n != "step"):
            run = f"{result['backbone']}, seed {result['seed']}"
            yield f"{run}, went on with {name} {after} instead of {before} after step {change['step']:,}"


def _score(value: float, interval: Sequence[float] | None) -> Score:
    if interval is None:
        return float(value), None
    low, high = interval
    return float(value), (float(low), float(high))


@cache
def start(backbone: str, weights: str) -> str:
    """What the weights have seen, as far as can be told: those of different pretraining are never ranked together.

    Of timm's names the tag tells it: `..._in1k` is ImageNet-1k alone unless it names other data or a fine-tuning.
    """
    if weights == "none":
        return SCRATCH
    if backbone.startswith("timm:") and weights.startswith(("hf:", "http")):
        tag = weights.rpartition(".")[2]
        words = tag.split("_")
        plain = words[-1] == "in1k" and not any(re.match(r"ft$|jft|in\d+k$", word) for word in words[:-1])
        return "ImageNet-1k" if plain else f"timm's {tag}"
    try:
        known = build.get_backbone(backbone)
    except UserError:  # it has left the table since
        return f"weights {weights}"
    return known.pretrained_on if weights == known.weights else f"weights {weights}"


def _runs(folder: Path) -> Iterator[Path]:
    """Folders with a `config.json` or a `result.json`; there is no run within a run."""
    for at, below, files in os.walk(folder):
        below.sort()
        if "config.json" in files or RESULT in files:
            below.clear()
            yield Path(at)
