"""One run of a linear probe on a frozen network, from its options to its artifacts.

The features of every image are extracted once. Ridge regressions on one-hot classes are fitted to train in closed form,
one per penalty; validation selects among them. The selected one becomes the network's head and is evaluated once on test.
The seed determines the validation set, the bootstrap and, without pretrained weights, the network.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data.dataset import LoadedDataset, load_dataset
from ..models import weights
from ..models.build import get_backbone
from ..models.registry import Backbone
from ..spec import RunConfig
from . import provenance, results
from .config import check_unchanged, choose_metric, model_card, model_config, static_config
from .groups import group_indices
from .run_folder import run_folder
from .trained_on import seen_caveats, seen_in_test, sketch

if TYPE_CHECKING:
    from torch import nn

    from ..transfer.features import Extractor, Features

KNN_SCORES = ("top1", "top5", "macro_f1", "balanced_accuracy", "auroc")  # votes are not probabilities


@dataclass(frozen=True, kw_only=True)
class ProbeSetup:
    """A probe that is ready to be fitted."""

    config: RunConfig
    dataset: LoadedDataset
    net: "nn.Module"  # its head is still random
    extractor: "Extractor"
    settings: dict[str, Any]  # as in `config.json`


@dataclass(frozen=True)
class PartFeatures:
    """Train, val or test, for a linear classifier."""

    features: np.ndarray  # (N, D) float32
    labels: np.ndarray  # (N,) int


@dataclass(frozen=True)
class FittedProbe:
    """The probe at one penalty, as a linear layer of the raw features."""

    record: dict[str, Any]  # with the scores on validation
    weight: np.ndarray  # (C, D) float32
    bias: np.ndarray  # (C,) float32

    def logits(self, features: np.ndarray) -> np.ndarray:
        """(N, D) -> (N, C)."""
        return features @ self.weight.T + self.bias


def probe(config: RunConfig, log: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Extract features, fit, select on validation, evaluate once on test; returns the content of `result.json`.

    `log` gets the run's settings, then the record of the selected penalty.

    Raises:
        UserError: a mistake that the user can fix.
    """
    started = time.perf_counter()
    backbone = get_backbone(config.model)
    dataset = load_dataset(config, backbone.preprocess(config.image_size), log)

    from ..metrics import cost
    from . import artifacts
    from .baselines import log_baselines

    setup = _build_setup(config, backbone, dataset)
    split, device = dataset.split, setup.extractor.device
    if config.resume:  # it takes seconds, so it starts again in its folder
        check_unchanged(config, results.read_json(config.out / results.CONFIG), setup.settings)
    with run_folder(config, dataset, setup.settings, records=[]) as write:
        log(setup.settings)
        seen = seen_in_test(config, backbone, dataset)
        baselines = log_baselines(config, dataset, setup.settings, seen, log)
        cost.reset_peak_memory(device)
        positions = sorted(split.train + split.val)  # the same for all seeds, which draw val from train
        features = _features(setup, positions)
        train, val = (
            _with_labels(setup, features.values[np.searchsorted(positions, part)], part)
            for part in (split.train, split.val)
        )
        groups = group_indices(dataset.samples, split.train)
        with cost.Timer(device) as fitting:
            candidates = _fit(train, val, len(dataset.samples.classes), groups)
        for candidate in candidates:
            write(candidate.record)
        best = _select(candidates, setup.settings["metric"])
        log(best.record)
        _write_weights(setup, best)
        test_features = _features(setup, split.test)  # the one evaluation on test
        cached = features.cached or test_features.cached
        peak_memory = None if cached else cost.peak_memory(device)
        result = _result(setup, train, _with_labels(setup, test_features.values, split.test), best, seen)
        result |= {
            "baselines": baselines,
            "features_remembered": features.cached,  # with the speed measured when they were extracted
            "cost": {
                "train_images_per_second": features.images_per_second,
                "test_images_per_second": test_features.images_per_second,
                "peak_memory_bytes": peak_memory,  # None: unknown for cached features
                "train_seconds": len(positions) / features.images_per_second + fitting.seconds,
                "fit_seconds": fitting.seconds,
                "total_seconds": time.perf_counter() - started,
            },
        }
        logits = {"val": best.logits(val.features), "test": best.logits(test_features.values)}
        return artifacts.write(config, dataset, [], result, logits, setup.net)


def _build_setup(config: RunConfig, backbone: Backbone, dataset: LoadedDataset) -> ProbeSetup:
    from ..training import device, recipes
    from ..transfer.features import Extractor, seeded_model

    n_classes, torch_device = len(dataset.samples.classes), device.find(config.device)
    precision = device.resolve_precision(torch_device, config.precision, backbone.cpu_bf16)
    path, sha256 = weights.fetch(backbone, config.weights, config.offline)
    net = seeded_model(backbone, path, n_classes, config.seed, config.image_size)
    settings = {
        **static_config(config, backbone, recipes.PROBE, dataset),
        **model_config(config, net, dataset.preprocess.size, sha256, torch_device, precision),
        "metric": choose_metric(config, dataset),
        "processes": 1,
        "memory_format": "channels_last",
        "compiled": False,
    }
    extractor = Extractor(
        backbone=backbone,
        weights=path,
        sha256=sha256,
        preprocess=dataset.preprocess,
        device=torch_device,
        machine=provenance.device_name(torch_device),
        precision=precision,
        seed=config.seed,
        batch_size=config.batch_size,
    )
    return ProbeSetup(config=config, dataset=dataset, net=net, extractor=extractor, settings=settings)


def _write_weights(setup: ProbeSetup, best: FittedProbe) -> None:
    """The network with the probe as its head."""
    from ..transfer.features import set_head

    config, backbone, dataset = setup.config, setup.extractor.backbone, setup.dataset
    set_head(setup.net, backbone.head, best.weight, best.bias)
    card = model_card(backbone, dataset, config.dataset) | {"temperature": 1.0}  # the head is calibrated
    trained_on = sketch(config, backbone, dataset)
    results.write_weights(config.out / results.BEST, setup.net, card, trained_on)


def _features(setup: ProbeSetup, positions: Sequence[int]) -> "Features":
    from ..transfer.features import cached_features, extract_features

    dataset = setup.dataset
    indices = dataset.indices[list(positions)]
    if setup.config.no_cache:
        return extract_features(setup.extractor, dataset.pixels, indices)
    return cached_features(setup.extractor, dataset.samples.images, indices, setup.config.dataset.native)


def _with_labels(setup: ProbeSetup, features: np.ndarray, positions: Sequence[int]) -> PartFeatures:
    return PartFeatures(features, np.asarray(setup.dataset.samples.labels)[list(positions)])


def _fit(train: PartFeatures, val: PartFeatures, n_classes: int, groups: np.ndarray | None) -> list[FittedProbe]:
    """The probe at every penalty, with its logits scaled to the lowest NLL on validation.

    A ridge regression predicts about 0 to 1; as logits these have very low confidence.
    """
    from ..metrics import calibration, classification
    from ..transfer.blas import single_threaded_blas
    from ..transfer.linear_probe import ridge_path

    fitted = []
    with single_threaded_blas():
        for step, (ridge, error) in enumerate(ridge_path(train.features, train.labels, n_classes, groups)):
            temperature = calibration.fit_temperature(ridge.logits(val.features), val.labels)
            record = {"step": step, "penalty": ridge.penalty, "scale": 1 / temperature, "train_left_out": error}
            candidate = FittedProbe(record, *ridge.layer(temperature))
            scores = classification.score(candidate.logits(val.features), val.labels)
            record |= {f"val_{name}": value for name, value in scores.items()}
            fitted.append(candidate)
    return fitted


def _select(candidates: Sequence[FittedProbe], metric: str) -> FittedProbe:
    """The best on validation; on ties, which are common with few images, the one with the lowest leave-out error."""
    return max(candidates, key=lambda c: (c.record[f"val_{metric}"], -c.record["train_left_out"]))


def _result(
    setup: ProbeSetup, train: PartFeatures, test: PartFeatures, best: FittedProbe, seen: np.ndarray
) -> dict[str, Any]:
    """`result.json` without its cost."""
    from .disjoint import disjoint_scores, groups_of
    from .evaluation import score_with_intervals

    logits, seed = best.logits(test.features), setup.config.seed
    scores = score_with_intervals(logits, test.labels, seed, groups_of(setup.dataset, "test"))
    return {
        **setup.settings,
        "caveats": [*setup.settings["caveats"], *seen_caveats(setup.config, seen)],
        "test": scores,
        "test_disjoint": disjoint_scores(setup.dataset, logits, seed, seen),
        "temperature": 1.0,
        "test_calibrated": {name: scores[name] for name in ("nll", "ece")},
        "best": best.record,
        "knn": _knn(setup, train, test),
    }


def _knn(setup: ProbeSetup, train: PartFeatures, test: PartFeatures) -> dict[str, Any]:
    """Scores of a nearest-neighbour classifier on the same features, for comparison."""
    from ..transfer import knn
    from ..transfer.blas import single_threaded_blas
    from .disjoint import groups_of
    from .evaluation import score_with_intervals

    n_classes = len(setup.dataset.samples.classes)
    with single_threaded_blas():
        votes = knn.votes(train.features, train.labels, n_classes, test.features)
    fractions = votes / votes.sum(1, keepdims=True)
    groups = groups_of(setup.dataset, "test")
    scores = score_with_intervals(np.log(fractions + 1e-12), test.labels, setup.config.seed, groups)
    return {"k": knn.N_NEIGHBORS, "test": {name: scores[name] for name in KNN_SCORES if name in scores}}
