"""A ranking of backbones for a set of images, by linear probes on frozen features.

The test images are held out before the first probe, for `finalists` to compare fine-tuned networks on them.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
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
from . import cost_model, dataset, finetuned_order, more_images, probe, published, ranking, sizes, text
from .baselines import score_baselines
from .dataset import ProbeData, Round
from .probe import ProbeResult

PROBES = 0.5  # of a budget, at most; the rest is for the race
MIN_COMPARED = 2  # backbones, whatever the budget
COST_IMAGES = 3 * 3 * cost_model.CPU_IMAGES  # forward passes as costly as a measurement: 3 training steps
Log = Callable[[str], None]


@dataclass(frozen=True)
class RecommendConfig:
    runs: tuple[RunConfig, ...]  # one per backbone, which differ only in model, weights and image size
    left_out: Mapping[str, str]  # {backbone without weights: reason}
    limit: int | None  # images to probe; None: all but test
    budget: float | None  # seconds, the race included
    sizes: tuple[tuple[int, int], ...] = ()  # (H, W) at which the first backbone is probed, too


@dataclass(kw_only=True)
class _Search:
    """The state of successive halving."""

    results: dict[str, ProbeResult] = field(default_factory=dict)
    round_: Round | None = None  # of `results`
    dropped: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, str]
    too_late: list[str] = field(default_factory=list)  # of `left_out`, those that the budget left no time for


def recommend(config: RecommendConfig, log: Log) -> tuple[dict[str, Any], ProbeData, np.ndarray]:
    """Score every backbone; returns the JSON-serializable answer, the data used, and draws (R, K) of the fine-tuned scores.

    Under a budget, costs are measured while time is left, the best backbone's first.

    Raises:
        UserError: something in the data that the user can fix, or no backbone could process it.
    """
    start = time.perf_counter()
    run = config.runs[0]
    data = dataset.load(run, config.limit, bool(config.budget), log)
    device = devices.find(run.device)

    def seconds_left() -> float:
        return PROBES * (config.budget or math.inf) - (time.perf_counter() - start)

    search = _successive_halving(config, data, device, seconds_left, log)
    full_comparison = _full_comparison(search, data, time.perf_counter() - start)
    runs = {run.model: run for run in config.runs}
    standings = tqdm(_rank(search, data, run.seed), "costs", unit="backbone", leave=False, disable=None)
    backbones = [
        _row(each, runs[each.name], search.results[each.name], data, device, seconds_left() > 0) for each in standings
    ]
    finetuned = _finetuned_scores(backbones, search, data, run.seed)
    for name, values in finetuned_order.summarize(finetuned).items():
        for row, value in zip(backbones, values.tolist(), strict=True):
            row[name] = value
    curve = None
    if seconds_left() > 0:
        first = backbones[0]["backbone"]
        curve = more_images.estimate(first, search.results[first], search.round_, data.metric)
    sizes_of_first = None
    if config.sizes:
        first = runs[backbones[0]["backbone"]]
        result = search.results[first.model]
        sizes_of_first = sizes.compare(first, config.sizes, data, search.round_, result, device, seconds_left)
    answer = {
        **_describe(run, data, search.round_),
        "baselines": score_baselines(run, data, search.round_),
        "limit": config.limit,
        "budget_seconds": config.budget,
        "backbones": backbones,
        "dropped": search.dropped,
        "left_out": search.left_out,
        "full_comparison": full_comparison,
        "more_images": curve,
        "sizes": sizes_of_first,
        "seconds": time.perf_counter() - start,
        **provenance.collect(device, run.precision),
    }
    return answer, data, finetuned


def _successive_halving(
    config: RecommendConfig, data: ProbeData, device: torch.device, seconds_left: Callable[[], float], log: Log
) -> _Search:
    """Probe all backbones on the images of each round.

    Under a budget, each round but the last drops the worst backbones: at most half, and no more than necessary for the
    others to finish in time (Jamieson & Talwalkar 2016, arXiv 1502.07943). The first uses an eighth of the images. If even
    then there is no time for the next round, none is dropped: this round decides. Two are compared in any case.

    Raises:
        UserError: no backbone could process the images.
    """
    search = _Search(left_out=dict(config.left_out))
    for number, round_ in enumerate(data.rounds):
        search.round_ = round_
        for run in tqdm(config.runs, "backbones", unit="backbone", leave=False, disable=None):
            if number and run.model not in search.results:
                continue
            previous = search.results.pop(run.model, None)
            try:
                if not number and seconds_left() < 0 and len(search.results) >= MIN_COMPARED:
                    search.too_late.append(run.model)
                    raise UserError("the budget ended before its turn")
                result = probe.evaluate(run, data, round_, previous, device)
            except UserError as error:
                search.left_out[run.model] = str(error)
                log(f"{run.model} is left out: {error}")
            else:
                search.results[run.model] = result
                log(text.format_score(run.model, run.weights, len(round_), data.metric, result.scores))
        if not search.results:
            raise UserError(f"no backbone could process the images: {next(iter(search.left_out.values()))}")
        if round_ is data.rounds[-1]:
            break
        worst = _worst(search, data, config.runs[0].seed, seconds_left())
        others = [result for name, result in search.results.items() if name not in {row["name"] for row in worst}]
        if _seconds(others, data.rounds[number + 1 : number + 2]) > seconds_left():
            log(f"the budget allows only {len(round_):,} of {data.n_images:,} images")
            break
        for row in worst:
            del search.results[row["name"]]
            search.dropped.append(row)
            log(text.format_dropped(row, data.metric))
    return search


def _rank(search: _Search, data: ProbeData, seed: int) -> list[ranking.Standing]:
    predicted = np.array([result.predicted for result in search.results.values()])
    labels, groups = search.round_.labels, search.round_.groups
    return ranking.rank(list(search.results), predicted, labels, data.metric, seed, groups)


def _worst(search: _Search, data: ProbeData, seed: int, seconds_left: float) -> list[dict[str, Any]]:
    """Rows of the worst, at most half, without which the others can finish in time; two remain."""
    standings, worst = _rank(search, data, seed), []
    n_survivors = max(MIN_COMPARED, math.ceil(len(standings) / 2))
    rounds = _later_rounds(search, data)
    seconds = {
        name: _seconds([result], rounds) + COST_IMAGES / result.images_per_second
        for name, result in search.results.items()
    }
    while len(standings) > n_survivors and sum(seconds[each.name] for each in standings) > seconds_left:
        last = standings.pop()
        worst.append({**asdict(last), "images": len(search.round_), "needed_seconds": seconds[last.name]})
    return worst


def _full_comparison(search: _Search, data: ProbeData, spent: float) -> dict[str, Any] | None:
    """The budget, in seconds, that all backbones would take on all images, estimated; None: they had the time."""
    results, missing = search.results.values(), _later_rounds(search, data)
    if not (missing or search.dropped or search.too_late):
        return None
    seconds = spent + _seconds(results, missing) + sum(row["needed_seconds"] for row in search.dropped)
    seconds += len(search.too_late) * _seconds(results, data.rounds) / len(results)
    n_backbones = len(results) + len(search.dropped) + len(search.too_late)
    return {"backbones": n_backbones, "images": data.n_images, "budget_seconds": seconds / PROBES}


def _later_rounds(search: _Search, data: ProbeData) -> list[Round]:
    return [each for each in data.rounds if len(each) > len(search.round_)]


def _seconds(results: Iterable[ProbeResult], rounds: Sequence[Round]) -> float:
    """The time that these backbones need for the rounds: features of new images, scores of all."""
    n_features, n_scored = sum(each.n_new for each in rounds), sum(map(len, rounds))
    return sum(result.seconds(n_features, n_scored) for result in results)


def _finetuned_scores(backbones: Sequence[dict[str, Any]], search: _Search, data: ProbeData, seed: int) -> np.ndarray:
    """(R, K) draws, predicted from the probes."""
    predicted = np.array([search.results[row["backbone"]].predicted for row in backbones])
    labels, groups = search.round_.labels, search.round_.groups
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
    known = published.find(row) if run.weights == "imagenet" else None
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
        "imagenet_top1": published.imagenet_top1(row) if known else row.top1,
        "transfer": known.transfer if known else None,
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
