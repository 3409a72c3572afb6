"""Which backbone for these images: each processes them once, and its frozen features are scored.

The test images are held out from the first moment: no probe sees them, so that `finals` may.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..data.splits import splits
from ..errors import UserError
from ..files.disk_cache import cached
from ..models import build, weights
from ..run import provenance
from ..spec import RunConfig
from ..training import device
from ..transfer import linear_probe, transferability
from ..transfer.features import Extractor, cached_features
from . import ranking, words
from .material import Material, gather
from .price import price, training_seconds

PRICE = 8 * 3 * 32  # forward passes that a price costs: of eight training steps of 32 images, three each
FORM = 2  # of the scores: one more makes older ones void
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """What the user asked for, checked."""

    runs: tuple[RunConfig, ...]  # one per backbone, the rest alike
    left_out: Mapping[str, str]  # backbones whose weights are missing, and why
    group_by: str | None  # a regular expression; images whose names share its match stay together
    limit: int | None  # images to look at; None: all but test
    budget: float | None  # seconds in all


@dataclass(frozen=True)
class Judged:
    """What a backbone makes of the images so far, and what that knows of the classes."""

    features: np.ndarray  # (N, D) float32
    images_per_second: float
    predicted: list[int]  # (N,) classes, by the probe
    scores: dict[str, float]  # probe, knn: accuracies; logme; h_score


def recommend(config: Question, tell: Tell) -> tuple[dict[str, Any], Material]:
    """Score every backbone; returns the answer, ready for JSON, and the data that it was scored on.

    Under a budget a first look at an eighth of the images drops the worst: at most half of them, and no more than must
    go for the others to be through in time; then a second look (successive halving: Jamieson & Talwalkar 2016,
    arXiv 1502.07943). Prices are measured while there is time, the best backbone's first. `tell` gets a line whenever
    something is known.

    Raises:
        UserError: something in the data that the user can fix, or no backbone could look at it.
    """
    started = time.perf_counter()
    for name, reason in config.left_out.items():
        tell(f"{name} is left out: {reason}")
    first = config.runs[0]
    preprocess = build.get_backbone(first.model).preprocess(first.image_size)
    material = gather(first, preprocess, config.group_by, config.limit, bool(config.budget))
    where = device.find(first.device)
    runs = {run.model: run for run in config.runs}
    judged: dict[str, Judged] = {}
    left_out, dropped = dict(config.left_out), []

    def left() -> float:
        return (config.budget or math.inf) - (time.perf_counter() - started)

    for look in range(len(material.looks)):
        rows = material.rows(look)
        fold = linear_probe.folds(material.labels[rows], material.groups_of(rows), first.seed)
        for name in tqdm(list(judged or runs), "backbones", unit="backbone", leave=False, disable=None):
            before = judged.pop(name, None)
            try:
                if left() < 0 and look == 0:
                    raise UserError("the budget ended before its turn")
                judged[name] = _judge(runs[name], before, material, look, fold, where)
            except UserError as error:
                left_out[name] = str(error)
                tell(f"{name} is left out: {error}")
            else:
                tell(
                    words.first_word(
                        name, runs[name].weights, len(rows), material.metric, judged[name].scores
                    )
                )
        if not judged:
            raise UserError(f"no backbone could process the images: {next(iter(left_out.values()))}")
        if look + 1 == len(material.looks):
            break
        order = _order(judged, material, rows, first.seed)
        for standing, seconds in _hopeless(order, judged, material.probed - len(rows), left()):
            del judged[standing.name]
            dropped.append({**asdict(standing), "images": len(rows), "needed_seconds": seconds})
            tell(words.why_dropped(dropped[-1], material.metric))
        if _seconds(judged.values(), len(material.looks[look + 1])) > left():
            tell(f"the budget allows only {len(rows):,} of {material.probed:,} images")
            break
    order = _order(judged, material, rows, first.seed)
    bar = tqdm(order, "prices", unit="backbone", leave=False, disable=None)
    return {
        "dataset": first.dataset.name,
        "metric": material.metric,
        "images": len(rows),
        "of": len(material.split.train) + len(material.split.val),
        "held_out": len(material.split.test),
        "classes": len(material.samples.classes),
        "groups": None if material.groups is None else len(np.unique(material.groups[rows])),
        "largest_class": float(np.bincount(material.labels[rows]).max() / len(rows)),
        "folds": int(fold.max()) + 1,
        "seed": first.seed,
        "subset": first.subset,
        "shots": first.shots,
        "limit": config.limit,
        "budget_seconds": config.budget,
        "split": material.learn.fingerprint,
        "test_fingerprint": splits.test_fingerprint(material.samples, material.learn),
        "backbones": [_row(s, runs[s.name], judged[s.name], material, where, left() > 0) for s in bar],
        "dropped": dropped,
        "left_out": left_out,
        "seconds": time.perf_counter() - started,
        **provenance.collect(where, first.precision),
    }, material


def _judge(
    run: RunConfig,
    before: Judged | None,
    material: Material,
    look: int,
    fold: np.ndarray,
    where: torch.device,
) -> Judged:
    """What the backbone knows after this look; `before`: after the one before."""
    row = build.get_backbone(run.model)
    path, sha256 = weights.fetch(row, run.weights, run.offline)
    extractor = Extractor(
        backbone=row,
        weights=path,
        sha256=sha256,
        preprocess=row.preprocess(run.image_size),
        device=where,
        machine=provenance.device_name(where),
        precision=device.resolve_precision(where, run.precision, row.cpu_bf16),
        seed=run.seed,
    )
    new = cached_features(extractor, material.images, material.looks[look], run.dataset.native)
    values = np.concatenate([before.features, new.values]) if before else new.values
    rows, classes = material.rows(look), len(material.samples.classes)
    known = (values, material.labels[rows], classes, fold, material.groups_of(rows), material.metric)
    about = {"form": FORM, "known": [_digest(part) for part in known]}
    return Judged(values, new.images_per_second, **cached("judged", about, lambda: _scores(*known)))


def _digest(part: Any) -> str:
    held = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else str(part).encode()
    return hashlib.sha256(held).hexdigest()


def _scores(
    values: np.ndarray,
    labels: np.ndarray,
    classes: int,
    fold: np.ndarray,
    groups: np.ndarray | None,
    metric: str,
) -> dict[str, Any]:
    balanced = metric == "balanced_accuracy"
    predicted = linear_probe.out_of_fold(values, labels, classes, fold, groups, balanced).argmax(1)
    with linear_probe.single_threaded_blas():
        votes = linear_probe.knn_out_of_fold(values, labels, classes, fold)
        fits = {
            "logme": transferability.logme(values, labels, classes),
            "h_score": transferability.h_score(values, labels, classes),
        }
    return {
        "predicted": predicted.tolist(),
        "scores": {
            "probe": ranking.accuracy(predicted, labels, metric),
            "knn": ranking.accuracy(votes.argmax(1), labels, metric),
            **fits,
        },
    }


def _order(
    judged: dict[str, Judged], material: Material, rows: np.ndarray, seed: int
) -> list[ranking.Standing]:
    predicted = np.array([one.predicted for one in judged.values()])
    labels, groups = material.labels[rows], material.groups_of(rows)
    return ranking.rank(list(judged), predicted, labels, material.metric, seed, groups)


def _hopeless(
    order: list[ranking.Standing], judged: dict[str, Judged], images: int, left: float
) -> list[tuple[ranking.Standing, float]]:
    """The worst, until the others can look at so many more images in the seconds left; with what each would have taken."""
    gone, standing = [], list(order)
    while len(standing) > math.ceil(len(order) / 2):
        if _seconds([judged[one.name] for one in standing], images + PRICE) <= left:
            break
        last = standing.pop()
        gone.append((last, _seconds([judged[last.name]], images + PRICE)))
    return gone


def _seconds(judged: Iterable[Judged], images: int) -> float:
    """That these backbones need for so many images each."""
    return sum(images / one.images_per_second for one in judged)


def _row(
    standing: ranking.Standing,
    run: RunConfig,
    judged: Judged,
    material: Material,
    where: torch.device,
    measured: bool,
) -> dict[str, Any]:
    """A line of the answer's table; without `measured` it tells of training what is remembered."""
    row = build.get_backbone(run.model)
    precision = device.resolve_precision(where, run.precision, row.cpu_bf16)
    machine, classes = provenance.device_name(where), len(material.samples.classes)
    cost = price(row, classes, run.image_size, run.batch_size, where, machine, precision, measured)
    told, train, val = asdict(standing), len(material.learn.train), len(material.learn.val)
    return {
        "backbone": told.pop("name"),
        "weights": run.weights,
        "pretrained_on": None if run.weights == "none" else row.pretrained_on,
        "imagenet_top1": row.top1,
        "size": run.image_size,
        "precision": precision,
        **told,
        **judged.scores,
        **asdict(cost),
        "images_per_second": judged.images_per_second,
        "batch_size": run.batch_size,
        "training_seconds": training_seconds(cost, judged.images_per_second, train, val, run.batch_size),
    }
