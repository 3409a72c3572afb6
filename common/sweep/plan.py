"""The plan of a sweep: a cell per run, named by a hash of everything that determines its result. Imports no torch."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build
from ..models.names import slug
from ..models.registry import Backbone
from ..run.results import format_train_size
from ..spec import Phase, RunConfig, Samples, Split
from ..training import recipes, search_budget

# fields of `RunConfig` that determine the result, besides the data sheet, the split and the weights
IDENTITY_FIELDS = (
    "protocol", "batch_size", "micro_bs", "epochs", "steps", "optimizer", "lr", "weight_decay", "class_weights", "balanced_sampling",
    "eval_every", "image_size", "precision", "compile", "tune", "device", "seed", "skip_bad",
)  # fmt: skip
# likewise, if they are set
OPTIONAL_FIELDS = (
    "value_range", "bands", "head_start", "batch_norm", "layer_decay", "label_smoothing", "mixup_alpha", "ema_decay", "crop_pct", "no_search",
    "drop_conflicts",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    config: RunConfig
    script: Path
    args: tuple[str, ...]  # of the script, without --out
    named: bool  # the user named its dataset, instead of all


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run of a sweep."""

    name: str  # of its run folder: DATASET-MODEL-sSEED-ID
    dataset: str
    backbone: str
    seed: int
    train_size: str  # see `results.format_train_size`
    protocol: str
    rate: str  # where its learning rate is from, a key of `recorded_recipe.RATE_SOURCES`, or "protocol"
    script: Path
    args: tuple[str, ...]  # of the script, without --out
    batch_size: int
    micro_bs: int
    image_passes: float  # forward and backward passes of an image; evaluation counts a third, a probe's features one
    pixels: int  # of an image

    @property
    def title(self) -> str:
        return " ".join(filter(None, (self.dataset, self.train_size, self.backbone, f"s{self.seed}")))


def make_cells(runs: Iterable[PlannedRun]) -> tuple[list[Cell], dict[str, str]]:
    """A cell per distinct run, in order, and {dataset: reason} of those that cannot be read and are not named.

    Raises:
        UserError: a named dataset cannot be read or split.
    """
    from ..data import dataset  # imports numpy, which --help does not need

    cells: dict[str, Cell] = {}
    left_out: dict[str, str] = {}
    samples: dict[tuple, Samples] = {}
    splits: dict[tuple, Split] = {}
    for run in runs:
        config, sheet = run.config, run.config.dataset
        data = (sheet.name, sheet.fold, config.split, config.data_dir, config.subset, config.split_file)
        title = " ".join(filter(None, (sheet.name, format_train_size(config.shots, config.fraction))))
        if sheet.name in left_out or title in left_out:
            continue
        try:
            if data not in samples:
                samples[data] = dataset.read_samples(config)
            key = (*data, config.seed, config.shots, config.fraction, config.protocol == "paper")
            if key not in splits:
                splits[key] = dataset.make_split(config, samples[data])
        except UserError as error:
            if run.named:
                raise
            left_out[title if data in samples else sheet.name] = str(error)
            continue
        cell = _make_cell(run, splits[key], len(samples[data].classes))
        cells.setdefault(cell.name, cell)
    return list(cells.values()), left_out


def _make_cell(run: PlannedRun, split: Split, classes: int) -> Cell:
    config = run.config
    row = build.get_backbone(config.model)
    sizes = len(split.train), len(split.val), len(split.test)
    recipe = recipes.from_config(config, row, max(1, len(split.train) // config.batch_size))
    recipe = recipes.for_split(recipe, config, classes, *sizes[:2])
    steps = sum(_expected_steps(phase, recipe.eval_every) for phase in recipe.phases)
    searched = search_budget.is_expected(config, row, recipe, sizes[1])
    rate = "searched" if searched else recipes.source(config, row)
    if config.protocol == "clean" and not steps:
        rate = "untrained"
    model = slug(row.name).replace(".", "_")
    return Cell(
        name=f"{config.dataset.name}-{model}-s{config.seed}-{_identity(config, row, split.fingerprint)}",
        dataset=config.dataset.name,
        backbone=row.name,
        seed=config.seed,
        train_size=format_train_size(config.shots, config.fraction),
        protocol=config.protocol,
        rate=rate,
        script=run.script,
        args=run.args,
        batch_size=config.batch_size,
        micro_bs=config.micro_bs or config.batch_size,
        image_passes=image_passes(
            sizes, steps, config.batch_size, recipe.eval_every, search_budget.MAX_COST * searched
        ),
        pixels=config.image_size[0] * config.image_size[1],
    )


def image_passes(sizes: tuple[int, int, int], steps: int, batch_size: int, eval_every: int, search: float) -> float:
    """See `Cell.image_passes`. `sizes`: images in train, val and test; `search`: its cost as a fraction of the run's."""
    _, val, test = sizes
    if not steps:
        return sum(sizes)
    return (steps * batch_size + (steps // eval_every * (val or test) + test) // 3) * (1 + search)


def _expected_steps(phase: Phase, eval_every: int) -> int:
    """The phase's steps; with early stopping an estimate: ten evaluations that improve, then the patience."""
    return phase.steps if phase.patience is None else min(phase.steps, (10 + phase.patience) * eval_every)


def _identity(config: RunConfig, row: Backbone, fingerprint: str) -> str:
    """Ten hex digits of a SHA-256, without the code, so that finished runs stay finished."""
    sheet = config.dataset
    key: dict[str, Any] = {
        **{name: getattr(config, name) for name in IDENTITY_FIELDS},
        **{name: value for name in OPTIONAL_FIELDS if (value := getattr(config, name))},
        "backbone": row.name,
        "weights": _identify_weights(config, row),
        "sheet": [sheet.name, sheet.metric, sheet.native, asdict(sheet.augment)],
        "split": fingerprint,
        **({"recipe": recipes.CLEAN_VERSION} if config.protocol == "clean" else {}),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:10]


def _identify_weights(config: RunConfig, row: Backbone) -> str:
    if config.weights != "imagenet":
        return _content_hash(config.weights)
    if row.weights.startswith("file:"):
        return _content_hash(row.weights.removeprefix("file:"))
    return row.weights


@cache
def _content_hash(weights: str) -> str:
    """SHA-256 of the file; "none" stays "none"."""
    return weights if weights == "none" else hashlib.sha256(Path(weights).expanduser().read_bytes()).hexdigest()
