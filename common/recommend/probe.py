"""The scores of one backbone on frozen features: linear probe, kNN, LogME, H-score."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..files.disk_cache import cached
from ..metrics import cost
from ..models import build, weights
from ..run import provenance
from ..spec import RunConfig
from ..training import device as devices
from ..transfer import knn, linear_probe, transferability
from ..transfer.blas import single_threaded_blas
from ..transfer.features import Extractor, cached_features
from . import ranking
from .dataset import ProbeData, Round

FORMAT = 3  # of the cached scores; increase it to invalidate older ones


@dataclass(frozen=True)
class ProbeResult:
    """The features of a backbone for the images of a round, and their scores."""

    features: np.ndarray  # (N, D) float32
    images_per_second: float
    predicted: list[int]  # (N,) classes, by the probe
    scores: dict[str, float]  # probe, knn: accuracies; logme; h_score
    scoring_seconds: float  # of all N images; when they were computed, if cached

    def seconds(self, n_features: int, n_scored: int) -> float:
        """The estimated time to extract features of so many images and to score so many."""
        return n_features / self.images_per_second + n_scored * self.scoring_seconds / len(self.features)


def evaluate(
    config: RunConfig, data: ProbeData, round_: Round, previous: ProbeResult | None, device: torch.device
) -> ProbeResult:
    """Extract the features of the round's new images and score all; `previous`: the result of the round before."""
    row = build.get_backbone(config.model)
    path, sha256 = weights.fetch(row, config.weights, config.offline)
    extractor = Extractor(
        backbone=row,
        weights=path,
        sha256=sha256,
        preprocess=replace(row.preprocess(config.image_size), value_range=data.value_range, bands=config.bands),
        device=device,
        machine=provenance.device_name(device),
        precision=devices.resolve_precision(device, config.precision, row.cpu_bf16),
        seed=config.seed,
    )
    new = cached_features(extractor, data.images, round_.positions[-round_.n_new :], config.dataset.native)
    values = np.concatenate([previous.features, new.values]) if previous else new.values
    classes = len(data.samples.classes)
    inputs = (values, round_.labels, classes, round_.folds, round_.groups, data.metric)
    key = {"form": FORMAT, "known": [_digest(part) for part in inputs]}
    scores = cached("judged", key, lambda: _scores(values, round_, classes, data.metric))
    return ProbeResult(values, new.images_per_second, **scores)


def _digest(part: Any) -> str:
    content = np.ascontiguousarray(part) if isinstance(part, np.ndarray) else str(part).encode()
    return hashlib.sha256(content).hexdigest()


def _scores(values: np.ndarray, round_: Round, classes: int, metric: str) -> dict[str, Any]:
    labels, folds = round_.labels, round_.folds
    balanced = metric == "balanced_accuracy"
    elapsed = cost.stopwatch(torch.device("cpu"))
    logits = linear_probe.out_of_fold(values, labels, classes, folds, round_.groups, balanced)
    predicted = logits.argmax(1)
    with single_threaded_blas():
        neighbours = knn.out_of_fold(values, labels, classes, folds).argmax(1)
        logme = transferability.logme(values, labels, classes)
        h_score = transferability.h_score(values, labels, classes)
    return {
        "predicted": predicted.tolist(),
        "scores": {
            "probe": ranking.accuracy(predicted, labels, metric),
            "knn": ranking.accuracy(neighbours, labels, metric),
            "logme": logme,
            "h_score": h_score,
        },
        "scoring_seconds": elapsed(),
    }
