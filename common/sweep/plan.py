"""The plan of a sweep: a cell per run, named by all that determines its result. Nothing here loads torch."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build
from ..models.registry import Backbone
from ..spec import Phase, RunConfig, Samples, Split
from ..training import recipes

# of a `Run`: what decides the result beside the sheet, the split and the weights
DECIDES = (
    "protocol", "batch_size", "micro_bs", "epochs", "steps", "optimizer", "lr", "weight_decay", "class_weights", "balanced_sampling",
    "eval_every", "image_size", "precision", "compile", "tune", "device", "seed", "skip_bad",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A run as a sweep wants it, checked."""

    run: RunConfig
    script: Path
    words: tuple[str, ...]  # what the script is told, but for --out
    named: bool  # the user named its dataset, instead of asking for all


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep."""

    name: str  # of its run folder: DATASET-MODEL-sSEED-ID
    dataset: str
    backbone: str
    seed: int
    few: str  # "10 shots", "0.1 of train"; "": all of train
    protocol: str
    script: Path
    words: tuple[str, ...]  # what the script is told, but for --out
    batch_size: int
    micro_bs: int
    looks: int  # images seen: forward and backward passes, a third for a mere look at val and test; by a probe, all
    pixels: int  # of an image

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.dataset, self.few, self.backbone, f"s{self.seed}")))


def cells(runs: Iterable[Planned]) -> tuple[list[Cell], dict[str, str]]:
    """A cell per run, equal ones once, in the order given; and datasets that nobody named and that cannot be read, with the reason.

    Raises:
        UserError: the data of a run cannot be read or split.
    """
    from ..data import dataset  # numpy and what reads images: --help can do without

    found: dict[str, Cell] = {}
    left_out: dict[str, str] = {}
    samples: dict[tuple, Samples] = {}
    splits: dict[tuple, Split] = {}
    for planned in runs:
        run, sheet = planned.run, planned.run.dataset
        data = (sheet.name, sheet.fold, run.split, run.data_dir, run.subset, run.split_file)
        title = " ".join(filter(None, (sheet.name, few(run))))
        if sheet.name in left_out or title in left_out:
            continue
        try:
            if data not in samples:
                samples[data] = dataset.read_samples(run)
            division = (*data, run.seed, run.shots, run.fraction, run.protocol == "paper")
            if division not in splits:
                splits[division] = dataset.make_split(run, samples[data])
        except UserError as error:
            if planned.named:
                raise
            left_out[title if data in samples else sheet.name] = str(error)
            continue
        cell = _cell(planned, splits[division])
        found.setdefault(cell.name, cell)
    return list(found.values()), left_out


def few(run: RunConfig) -> str:
    """How much of train: "10 shots", "0.1 of train"; "": all."""
    return f"{run.shots} shots" if run.shots else f"{run.fraction} of train" if run.fraction else ""


def _cell(planned: Planned, split: Split) -> Cell:
    run = planned.run
    row = build.get_backbone(run.model)
    train, val, test = (len(part) for part in (split.train, split.val, split.test))
    epoch = max(1, train // run.batch_size)
    recipe = recipes.from_config(run, row, epoch)
    steps = sum(_expected(phase, recipe.eval_every) for phase in recipe.phases)
    model = row.name.replace(":", "_").replace(".", "_")
    return Cell(
        name=f"{run.dataset.name}-{model}-s{run.seed}-{_identity(run, row, split.fingerprint)}",
        dataset=run.dataset.name,
        backbone=row.name,
        seed=run.seed,
        few=few(run),
        protocol=run.protocol,
        script=planned.script,
        words=planned.words,
        batch_size=run.batch_size,
        micro_bs=run.micro_bs or run.batch_size,
        looks=looks((train, val, test), steps, run.batch_size, recipe.eval_every, run.lr == "auto"),
        pixels=run.image_size[0] * run.image_size[1],
    )


def looks(parts: tuple[int, int, int], steps: int, batch_size: int, eval_every: int, searched: bool) -> int:
    """See `Cell.looks`. `parts`: images in train, val and test; a search for the rate takes as long again as the run."""
    _, val, test = parts
    if not steps:
        return sum(parts)
    return (steps * batch_size + (steps // eval_every * (val or test) + test) // 3) * (1 + searched)


def _expected(phase: Phase, eval_every: int) -> int:
    """Its steps; of a phase that ends when its patience does, a guess: ten evaluations that were better before."""
    return phase.steps if phase.patience is None else min(phase.steps, (10 + phase.patience) * eval_every)


def _identity(run: RunConfig, row: Backbone, fingerprint: str) -> str:
    """Ten hex digits of a SHA-256; not of the code: a finished run stays finished when a comment changes."""
    sheet = run.dataset
    about: dict[str, Any] = {
        **{name: getattr(run, name) for name in DECIDES},
        "backbone": row.name,
        "weights": row.weights if run.weights == "imagenet" else _content(run.weights),
        "sheet": [sheet.name, sheet.metric, sheet.native, asdict(sheet.augment)],
        "split": fingerprint,
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:10]


@cache
def _content(weights: str) -> str:
    """What a file holds, by its SHA-256; "none" as it is."""
    return weights if weights == "none" else hashlib.sha256(Path(weights).read_bytes()).hexdigest()
