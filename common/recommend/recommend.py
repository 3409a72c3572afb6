"""A ranking of backbones for a set of images, by linear probes on frozen features.

The test images are held out before the first probe, for `finalists` to compare fine-tuned networks on them.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..data.splits import splits
from ..errors import UserError
from ..models import build
from ..run import provenance
from ..spec import RunConfig
from ..training import device as devices
from . import cost_model, dataset, finetuned_order, halving, more_images, published, ranking, sizes
from .baselines import score_baselines
from .dataset import ProbeData, Round
from .halving import Probes
from .probe import ProbeResult


@dataclass(frozen=True)
class RecommendConfig:
    runs: tuple[RunConfig, ...]  # one per backbone, which differ only in model, weights and image size
    left_out: Mapping[str, str]  # {backbone without weights: reason}
    limit: int | None  # images to probe; None: all but test
    budget: float | None  # seconds, the race included
    sizes: tuple[tuple[int, int], ...] = ()  # (H, W) at which the first backbone is probed, too
    has_finals: bool = False  # fine-tuned networks will be compared on the test images


def recommend(config: RecommendConfig, log: Callable[[str], None]) -> tuple[dict[str, Any], ProbeData, np.ndarray]:
    """Score every backbone; returns the JSON-serializable answer, the data used, and draws (R, K) of the fine-tuned scores.

    Under a budget, costs are measured while time is left, the best backbone's first.

    Raises:
        UserError: something in the data that the user can fix, or no backbone could process it.
    """
    start = time.perf_counter()
    run = config.runs[0]
    data = dataset.load(run, config.limit, bool(config.budget), log)
    if config.has_finals:
        _check_test_groups(data)
    device = devices.find(run.device)

    def seconds_left() -> float:
        return halving.SHARE * (config.budget or math.inf) - (time.perf_counter() - start)

    probes = halving.probe_all(config.runs, data, device, seconds_left, log)
    full_comparison = halving.full_comparison(probes, data, time.perf_counter() - start)
    runs = {run.model: run for run in config.runs}
    standings = tqdm(halving.rank(probes, data, run.seed), "costs", unit="backbone", leave=False, disable=None)
    backbones = [
        _row(each, runs[each.name], probes.results[each.name], data, device, seconds_left() > 0) for each in standings
    ]
    finetuned = _finetuned_scores(backbones, probes, data, run.seed)
    for name, values in finetuned_order.summarize(finetuned).items():
        for row, value in zip(backbones, values.tolist(), strict=True):
            row[name] = value
    curve = None
    if seconds_left() > 0:
        first = backbones[0]["backbone"]
        curve = more_images.estimate(first, probes.results[first], probes.round_, data.metric)
    sizes_of_first = None
    if config.sizes:
        first = runs[backbones[0]["backbone"]]
        result = probes.results[first.model]
        sizes_of_first = sizes.compare(first, config.sizes, data, probes.round_, result, device, seconds_left)
    answer = {
        **_describe(run, data, probes.round_),
        "baselines": score_baselines(run, data, probes.round_),
        "limit": config.limit,
        "budget_seconds": config.budget,
        "backbones": backbones,
        "dropped": probes.dropped,
        "left_out": {**config.left_out, **probes.left_out},
        "full_comparison": full_comparison,
        "more_images": curve,
        "sizes": sizes_of_first,
        "seconds": time.perf_counter() - start,
        **provenance.collect(device, run.precision),
    }
    return answer, data, finetuned


def _check_test_groups(data: ProbeData) -> None:
    groups = data.samples.groups
    if groups and len({groups[i] for i in data.split.test}) < 2:
        raise UserError("--finetune compares on the test images, and all of them are of one group: check --group_by")


def _finetuned_scores(backbones: Sequence[dict[str, Any]], probes: Probes, data: ProbeData, seed: int) -> np.ndarray:
    """(R, K) draws, predicted from the probes."""
    predicted = np.array([probes.results[row["backbone"]].predicted for row in backbones])
    labels, groups = probes.round_.labels, probes.round_.groups
    return finetuned_order.from_predictions(backbones, predicted, labels, data.metric, seed, groups)


def _describe(run: RunConfig, data: ProbeData, round_: Round) -> dict[str, Any]:
    """The fields of the answer about the data."""
    return {
        "dataset": run.dataset.name,
        "metric": data.metric,
        "images": len(round_),
        "of": len(data.split.train) + len(data.split.val),
        "held_out": len(data.split.test),
        "classes": len(data.samples.classes),
        "groups": None if round_.groups is None else len(np.unique(round_.groups)),
        "largest_class": float(np.bincount(round_.labels).max() / len(round_)),
        "folds": int(round_.folds.max()) + 1,
        "seed": run.seed,
        "subset": run.subset,
        "shots": run.shots,
        "split": data.finetune_split.fingerprint,
        "test_fingerprint": splits.test_fingerprint(data.samples, data.finetune_split),
    }


def _row(
    standing: ranking.Standing,
    run: RunConfig,
    result: ProbeResult,
    data: ProbeData,
    device: torch.device,
    measure: bool,
) -> dict[str, Any]:
    """The answer's row of a backbone; without `measure` its cost is taken from the cache."""
    row = build.get_backbone(run.model)
    workload = cost_model.Workload(
        row=row,
        classes=len(data.samples.classes),
        batch_size=run.batch_size,
        image_size=run.image_size,
        device=device,
        device_name=provenance.device_name(device),
        precision=devices.resolve_precision(device, run.precision, row.cpu_bf16),
    )
    cost, fields = cost_model.estimate(workload, measure), asdict(standing)
    n_train, n_val = len(data.finetune_split.train), len(data.finetune_split.val)
    recipe = cost_model.default_recipe(run, workload.classes, n_train, n_val)
    start = result.seconds(n_train, n_train) if recipe.head_start == "probe" else 0.0
    return {
        "backbone": fields.pop("name"),
        "weights": run.weights,
        "pretrained_on": None if run.weights == "none" else row.pretrained_on,
        **published.figures(row, run.weights),
        "size": run.image_size,
        "precision": workload.precision,
        **fields,
        **result.scores,
        **asdict(cost),
        "images_per_second": result.images_per_second,
        "batch_size": run.batch_size,
        "steps": recipe.steps,
        "training_seconds": cost_model.training_seconds(run, recipe, cost, start, n_val, result.images_per_second),
    }
