"""Run folders -> records of the finished runs, from their `result.json` alone."""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build
from ..run.recorded_recipe import current_recipe, describe_rate, describe_recipe, trials
from ..run.results import METRICS, OPTIONS, RESULT, format_train_size

SCRATCH = "from scratch"
# Without precision and micro-batch size: a sweep may retry a seed with others, and it remains a seed of the same cell
HYPERPARAMETERS = ("recipe", "augment", "balanced_sampling", "preprocess", "batch_size")
REQUIRED = ("top1", "macro_f1", "nll", "ece")  # metrics of every result, besides its headline metric
Score = tuple[float, tuple[float, float] | None]  # value (a fraction; NLL in nats), 95 % interval over test images


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Conditions that runs must share to be compared in one table."""

    protocol: str
    chosen_on: str  # the part that selects the epoch: "val" or "test"
    split: str  # "clean" or "paper"
    pretrained_on: str  # "ImageNet-1k" ..., or `SCRATCH`
    subset: bool
    train_size: str  # see `format_train_size`

    @property
    def regime(self) -> str:
        """ "fine-tuned", "frozen", "from scratch" or "random and frozen"."""
        if self.protocol == "probe":
            return "random and frozen" if self.pretrained_on == SCRATCH else "frozen"
        return SCRATCH if self.pretrained_on == SCRATCH else "fine-tuned"

    @property
    def title(self) -> str:
        regime = self.regime + f" from {self.pretrained_on}" * (self.pretrained_on != SCRATCH)
        conditions = ("the paper's split" * (self.split == "paper"), self.train_size, "subsets" * self.subset)
        return ", ".join([f"{regime}, protocol {self.protocol}", *filter(None, conditions)])


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished run."""

    folder: Path
    setting: Setting
    sheet: str  # name of the data sheet
    dataset: str  # the sheet's name, or that of the user's image folder
    fold: int | None
    split_file: str | None
    fingerprint: str  # of the split; depends on the seed
    test_fingerprint: str  # of the test images; independent of the seed; "" in older results
    classes: int
    images: tuple[int, int, int]  # in train, val, test
    backbone: str
    size: tuple[int, int]  # (H, W) in pixels
    epochs: int
    seed: int
    hyperparameters: str  # JSON; equal for runs that differ only in their seed
    recipe: str  # see `describe_recipe`
    rate: str  # see `describe_rate`
    metric: str  # the headline metric, a key of `scores`
    scores: Mapping[str, Score]
    last: float | None  # headline score after the last epoch
    calibrated: Mapping[str, float]  # scores after temperature scaling; empty if not calibrated
    temperature: float | None
    val_score: float | None  # best headline score on validation; None if test selected the epoch
    baselines: Mapping[str, Any]  # as in `result.json`; empty in older results
    cost: Mapping[str, float]  # those of `COSTS` in costs.py that were recorded
    machine: str
    threads: int
    precision: str
    micro_bs: int
    versions: Mapping[str, str]
    commit: str | None
    command: str
    caveats: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class LoadedRuns:
    """The run folders found, by state."""

    finished: tuple[Run, ...]
    unfinished: tuple[Path, ...]  # still running, or interrupted
    unreadable: tuple[tuple[Path, str], ...]  # with the reason


def load_runs(folders: Sequence[Path]) -> LoadedRuns:
    """All runs in the folders and below them, in the order of their paths.

    Raises:
        UserError: a folder does not exist, or no run is finished.
    """
    finished, unfinished, unreadable = [], [], []
    for parent in folders:
        if not parent.is_dir():
            raise UserError(f"no folder {parent}: expected run folders, or folders that contain them")
    for folder in dict.fromkeys(run for parent in folders for run in _run_folders(parent)):
        if not (folder / RESULT).exists():
            unfinished.append(folder)
            continue
        try:
            finished.append(parse_result(json.loads((folder / RESULT).read_bytes()), folder))
        except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
            unreadable.append((folder, f"{type(error).__name__}: {error}"))
    if not finished:
        counts = f"{len(unfinished)} unfinished, {len(unreadable)} unreadable"
        raise UserError(f"no finished run in {', '.join(map(str, folders))} ({counts}): a finished run has a {RESULT}")
    return LoadedRuns(finished=tuple(finished), unfinished=tuple(unfinished), unreadable=tuple(unreadable))


def parse_result(result: Mapping[str, Any], folder: Path) -> Run:
    """The content of a `result.json` as a record.

    Raises:
        LookupError, TypeError, AttributeError, ValueError, ArithmeticError: not the result of a run.
    """
    split, metric = result["split"], result["metric"]
    scores = {name: _score(**score) for name, score in result["test"].items()}
    if not {*REQUIRED, metric} <= scores.keys() & set(METRICS):
        raise LookupError(f"no {metric} or other score among {', '.join(scores)}")
    for name in (metric, *REQUIRED):
        if not math.isfinite(scores[name][0]):
            raise ValueError(f"its {name} is {scores[name][0]}, not a finite number")
    height, width = result["preprocess"]["size"]
    cost = {"parameters": result["parameters"], "macs": result["macs"], **result["cost"]}
    return Run(
        folder=folder,
        setting=_setting(result),
        sheet=result["dataset"],
        dataset=result.get("folder") or result["dataset"],
        fold=result.get("fold"),
        split_file=result.get("split_file"),
        fingerprint=split["fingerprint"],
        test_fingerprint=split.get("test_fingerprint", ""),
        classes=result["classes"],
        images=(split["train"], split["val"], split["test"]),
        backbone=result["backbone"],
        size=(height, width),
        epochs=_epochs(result),
        seed=result["seed"],
        hyperparameters=_hyperparameters(result),
        recipe=describe_recipe(result),
        rate=describe_rate(result),
        metric=metric,
        scores=scores,
        last=(result.get("test_last") or {}).get(metric),
        calibrated={name: score["value"] for name, score in (result.get("test_calibrated") or {}).items()},
        temperature=result.get("temperature"),
        val_score=result["best"].get(f"val_{metric}"),
        baselines=result.get("baselines", {}),
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


def _setting(result: Mapping[str, Any]) -> Setting:
    return Setting(
        protocol=result["protocol"],
        chosen_on=result["chosen_on"],
        split=result["split"]["kind"],
        pretrained_on=pretraining(result["backbone"], result["weights"]),
        subset=result["subset"],
        train_size=format_train_size(result.get("shots"), result.get("fraction")),
    )


def _hyperparameters(result: Mapping[str, Any]) -> str:
    """As JSON. A searched learning rate, or an augmentation that images decide, is "auto": it may differ between seeds."""
    values = {name: result.get(name) for name in HYPERPARAMETERS}
    if result.get("orientation"):
        values["augment"] = "auto"
    recipe = values["recipe"] = current_recipe(result["recipe"])
    if trials(result):
        recipe["phases"] = [{**phase, "lr": "auto"} for phase in recipe["phases"]]
    return json.dumps(values, sort_keys=True)


def _epochs(result: Mapping[str, Any]) -> int:
    """The epochs trained; those of the recipe if the result does not record them; 0 for a probe."""
    steps = (result.get("last") or {}).get("step") or sum(p["steps"] for p in result["recipe"]["phases"])
    return round(steps / result["steps_per_epoch"])


def _changes(result: Mapping[str, Any]) -> Iterator[str]:
    """The options that were changed when the run was resumed."""
    for change in result.get("changed", ()):
        for name, (before, after) in ((n, c) for n, c in change.items() if n != "step"):
            run = f"{result['backbone']}, seed {result['seed']}"
            yield f"{run}: resumed with {name} {after} instead of {before} after step {change['step']:,}"


def _score(value: float, interval: Sequence[float] | None) -> Score:
    if interval is None:
        return float(value), None
    low, high = interval
    return float(value), (float(low), float(high))


@cache
def pretraining(backbone: str, weights: str) -> str:
    """The data that the weights were pretrained on, if known; different pretraining is never ranked together.

    timm puts it into the tag of the name: `..._in1k` is only ImageNet-1k unless the tag has other data or a fine-tuning.
    """
    if weights == "none":
        return SCRATCH
    if backbone.startswith("timm:") and weights.startswith(("hf:", "http")):
        tag = weights.rpartition(".")[2]
        *earlier, last = tag.split("_")
        only_in1k = last == "in1k" and not any(re.match(r"ft$|jft|in\d+k$", part) for part in earlier)
        return "ImageNet-1k" if only_in1k else f"timm's {tag}"
    try:
        known = build.get_backbone(backbone)
    except UserError:  # no longer in the registry
        return f"weights {weights}"
    return known.pretrained_on if weights == known.weights else f"weights {weights}"


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders with a result or the options of a run; those below them are not searched."""
    for path, subfolders, files in os.walk(folder):
        subfolders.sort()
        if OPTIONS in files or RESULT in files:
            subfolders.clear()
            yield Path(path)
