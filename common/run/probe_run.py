"""A frozen network and a linear probe, from start to finish: what `run.py` is to the protocols that train.

The network looks at every image once. Ridge regressions of one-hot classes are fitted to train in closed form, one per penalty;
validation chooses among them. Test is looked at once, by the chosen one, which becomes the network's head. The seed draws the
validation set, the resamples of intervals and, without weights, the network.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..data.dataset import load_dataset
from ..data.splits import split_file
from ..files.atomic import atomic_write
from ..models import build, weights
from ..spec import RunConfig
from . import provenance, results
from .config import check_unchanged, choose_metric, model_card, model_config, static_config

if TYPE_CHECKING:
    import numpy as np

    from ..transfer.features import Features

KNN_SCORES = ("top1", "top5", "macro_f1", "balanced_accuracy", "auroc")  # votes are no probabilities


@dataclass(frozen=True)
class Part:
    """What the network makes of the images of a part."""

    features: "np.ndarray"  # (N, D) float32
    labels: "np.ndarray"  # (N,) int


@dataclass(frozen=True)
class Fitted:
    """The probe at one penalty, as a linear layer of the features as they are."""

    record: dict[str, Any]  # with the scores on validation
    weight: "np.ndarray"  # (C, D) float32
    bias: "np.ndarray"  # (C,) float32


def probe(config: RunConfig, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Extract features, fit, choose on validation, look at test once; returns what `result.json` holds.

    `tell` is given the run's configuration at its start and then the record of the penalty that was chosen.

    Raises:
        UserError: what the user can fix.
    """
    started = time.perf_counter()
    dataset, row = config.dataset, build.get_backbone(config.model)
    preprocess = row.preprocess(config.image_size)
    data = load_dataset(config, preprocess, tell)
    samples, split, preprocess = data.samples, data.split, data.preprocess

    import numpy as np

    from ..metrics import cost
    from ..training import device, recipes
    from ..transfer.features import Extractor, cached_features, extract_features, seeded_model, set_head
    from . import artifacts

    where, classes = device.find(config.device), len(samples.classes)
    precision = device.resolve_precision(where, config.precision, row.cpu_bf16)
    file = weights.fetch(row, config.weights, config.offline)
    net = seeded_model(row, file[0], classes, config.seed)
    metric = choose_metric(dataset, samples, split)
    settings = {
        **static_config(config, row, recipes.PROBE, preprocess, samples, split, data.n_unreadable),
        **model_config(config, net, preprocess, file[1], where, precision),
        "metric": metric,
        "processes": 1,
        "memory_format": "channels_last",
        "compiled": False,
    }
    if config.resume:  # it takes seconds: it begins anew, in its folder
        check_unchanged(config, results.read_json(config.out / results.CONFIG), settings)
    about = model_card(row, samples, dataset, preprocess)
    about["temperature"] = 1.0  # that of validation is in the head

    extractor = Extractor(
        backbone=row,
        weights=file[0],
        sha256=file[1],
        preprocess=preprocess,
        device=where,
        machine=provenance.device_name(where),
        precision=precision,
        seed=config.seed,
        batch_size=config.batch_size,
    )

    def features_of(positions: Sequence[int]) -> "Features":
        indices = data.indices[list(positions)]
        if config.no_cache:
            return extract_features(extractor, data.pixels, indices)
        return cached_features(extractor, samples.images, indices, dataset.native)

    def of(values: Any, positions: Sequence[int]) -> "np.ndarray":
        return np.asarray(values)[list(positions)]

    with results.run_folder(config, settings, [], write=True) as log:
        with atomic_write(config.out / "split.csv") as part:
            split_file.write(part, samples, split)
        tell(settings)
        cost.reset_peak_memory(where)
        learn = sorted(split.train + split.val)  # the same for all seeds, which draw val from train
        seen = features_of(learn)
        train, val = (
            Part(seen.values[np.searchsorted(learn, positions)], of(samples.labels, positions))
            for positions in (split.train, split.val)
        )
        groups = None
        if samples.groups:
            groups = np.unique(of(samples.groups, split.train), return_inverse=True)[1]
        with cost.Timer(where) as fitting:
            tried = _fit(train, val, classes, groups)
        for one in tried:
            log(one.record)
        best = max(tried, key=lambda one: (one.record[f"val_{metric}"], -one.record["train_left_out"]))
        tell(best.record)
        set_head(net, row.head, best.weight, best.bias)
        results.write_weights(config.out / results.BEST, net, about)
        test_seen = features_of(split.test)  # the one look at test
        peak = None if seen.cached or test_seen.cached else cost.peak_memory(where)

        test = Part(test_seen.values, of(samples.labels, split.test))
        logits = test.features @ best.weight.T + best.bias
        scores = artifacts.score_with_intervals(logits, test.labels, config.seed)
        result = {
            **settings,
            "test": scores,
            "temperature": about["temperature"],
            "test_calibrated": {name: scores[name] for name in ("nll", "ece")},
            "best": best.record,
            "knn": _neighbours(train, test, classes, config.seed),
            "features_remembered": seen.cached,  # their rates are those of when they were made
            "cost": {
                "train_images_per_second": seen.images_per_second,
                "test_images_per_second": test_seen.images_per_second,
                "peak_memory_bytes": peak,  # None: remembered features do not tell
                "train_seconds": len(learn) / seen.images_per_second + fitting.seconds,
                "fit_seconds": fitting.seconds,
                "total_seconds": time.perf_counter() - started,
            },
        }
        title = f"{dataset.title}, {row.name}, frozen"
        artifacts.write(
            config.out,
            title,
            [],
            result,
            logits,
            samples,
            split,
            lambda i: data.pixels[data.indices[split.test[i]]],
        )
        return result


def _fit(train: Part, val: Part, classes: int, groups: "np.ndarray | None") -> list[Fitted]:
    """The probe at every penalty, its logits scaled to the least NLL on validation.

    What a ridge regression says lies between 0 and 1: as logits that would mean to be sure of nothing. Where few images
    validate, several penalties do equally well: the error of training images, or groups, that are left out tells them apart.
    """
    from ..metrics import calibration, classification
    from ..transfer.linear_probe import ridge_path, single_threaded_blas

    found = []
    with single_threaded_blas():
        for step, (ridge, error) in enumerate(ridge_path(train.features, train.labels, classes, groups)):
            temperature = calibration.fit_temperature(ridge.logits(val.features), val.labels)
            weight, bias = ridge.layer(temperature)
            scores = classification.score(val.features @ weight.T + bias, val.labels)
            record = {
                "step": step,
                "penalty": ridge.penalty,
                "scale": 1 / temperature,
                "train_left_out": error,
            }
            record |= {f"val_{name}": value for name, value in scores.items()}
            found.append(Fitted(record, weight, bias))
    return found


def _neighbours(train: Part, test: Part, classes: int, seed: int) -> dict[str, Any]:
    """What the nearest training images say of the test images: beside the probe; it ranks nothing."""
    import numpy as np

    from ..transfer.linear_probe import N_NEIGHBORS, knn_votes, single_threaded_blas
    from . import artifacts

    with single_threaded_blas():
        said = knn_votes(train.features, train.labels, classes, test.features)
    shares = said / said.sum(1, keepdims=True)
    scores = artifacts.score_with_intervals(np.log(shares + 1e-12), test.labels, seed)
    return {"k": N_NEIGHBORS, "test": {name: scores[name] for name in KNN_SCORES if name in scores}}
