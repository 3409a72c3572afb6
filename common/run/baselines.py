"""The scores of baselines on a run's split: the largest class, predictions that do not see the object, a frozen network."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.checks.baselines import MIN_FIT, baseline_features, extra_trees
from ..data.dataset import LoadedDataset
from ..data.images.cache import content_hash
from ..files.disk_cache import cached
from ..metrics import classification
from ..spec import RunConfig
from ..transfer.small_network import local_extractor
from .trained_on import seen_caveats

if TYPE_CHECKING:
    from ..transfer.features import Extractor

FORMAT = 3  # of the cached scores: increase it when they would differ
MAX_TRAIN, MAX_TEST = 1000, 500  # images, sampled
NOT_SCORES = ("nll", "ece")


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """The images that baselines are fitted to, then those that they are scored on."""

    positions: np.ndarray  # (n_train + n_test,) in the samples
    labels: np.ndarray
    n_train: int
    n_classes: int


def log_baselines(
    config: RunConfig,
    dataset: LoadedDataset,
    settings: dict[str, Any],
    seen: np.ndarray,
    log: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """`score_baselines`, logged after the number of test images that the initial weights have seen, (N,) bool."""
    for caveat in seen_caveats(config, seen):
        log({"note": caveat})
    baselines = score_baselines(config, dataset)
    log({"baselines": baselines, "metric": settings["metric"]})
    return baselines


def score_baselines(config: RunConfig, dataset: LoadedDataset) -> dict[str, Any]:
    """{"n_train", "n_test", "scores": {baseline: {metric: score}}}, fitted to train and validation, scored on test.

    Cached on disk. `frozen_probe` needs the weights of a small network on this machine, `file_metadata` files, and all but
    `largest_class` `MIN_FIT` training images.
    """
    sample, extractor = _draw(dataset), local_extractor()

    def compute() -> dict[str, Any]:
        logits = _predict(dataset, sample, extractor)
        labels = sample.labels[sample.n_train :]
        scores = {name: classification.score(values, labels) for name, values in logits}
        return {
            "n_train": sample.n_train,
            "n_test": len(labels),
            "scores": {
                name: {metric: value for metric, value in by_metric.items() if metric not in NOT_SCORES}
                for name, by_metric in scores.items()
            },
        }

    if config.no_cache:
        return compute()
    indices = dataset.indices[sample.positions]  # unlike positions, they do not depend on which images were dropped
    key = {
        "format": FORMAT,
        "images": content_hash(dataset.samples.images, dataset.pixels.shape[1:3], dataset.preprocess),
        "sample": hashlib.sha256(np.concatenate((indices, sample.labels)).tobytes()).hexdigest(),
        "n_train": sample.n_train,
        "network": extractor and extractor.sha256,
        "versions": [version("scikit-learn"), version("torch")],
    }
    return cached("baselines", key, compute)


def _draw(dataset: LoadedDataset) -> _Sample:
    """The same for all seeds, which draw validation from train."""
    generator, split = np.random.default_rng(0), dataset.split
    parts = [
        np.sort(generator.permutation(sorted(part))[:limit])
        for part, limit in ((split.train + split.val, MAX_TRAIN), (split.test, MAX_TEST))
    ]
    positions = np.concatenate(parts)
    labels = np.asarray(dataset.samples.labels)[positions]
    return _Sample(positions=positions, labels=labels, n_train=len(parts[0]), n_classes=len(dataset.samples.classes))


def _predict(
    dataset: LoadedDataset, sample: _Sample, extractor: "Extractor | None"
) -> Iterator[tuple[str, np.ndarray]]:
    """(baseline, (N, C) logits of the test images) of each."""
    counts = np.bincount(sample.labels[: sample.n_train], minlength=sample.n_classes)
    yield "largest_class", np.tile(np.log(counts + 1.0), (len(sample.labels) - sample.n_train, 1))
    if sample.n_train < MIN_FIT:
        return
    indices = dataset.indices[sample.positions]
    pixels = dataset.pixels[indices]
    for name, features in baseline_features(dataset.samples.images, indices, pixels):
        yield name, _tree_logits(features, sample)
    if extractor:
        yield "frozen_probe", _probe_logits(pixels, sample, extractor)


def _tree_logits(features: np.ndarray, sample: _Sample) -> np.ndarray:
    n = sample.n_train
    fitted = extra_trees().fit(features[:n], sample.labels[:n])
    probabilities = np.full((len(features) - n, sample.n_classes), 1e-6)
    probabilities[:, fitted.classes_] += fitted.predict_proba(features[n:])
    return np.log(probabilities)


def _probe_logits(pixels: np.ndarray, sample: _Sample, extractor: "Extractor") -> np.ndarray:
    from ..transfer import linear_probe
    from ..transfer.blas import single_threaded_blas
    from ..transfer.features import extract_features

    features, n = extract_features(extractor, pixels, range(len(pixels))).values, sample.n_train
    with single_threaded_blas():
        probe = linear_probe.fit(features[:n], sample.labels[:n], sample.n_classes)
        return probe.logits(features[n:])
