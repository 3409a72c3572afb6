"""The scores of baselines on the images of a round: the largest class, and predictions that do not see the object."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..data.checks.baselines import MIN_FIT, border_pixels, colours, encode_metadata, extra_trees
from ..data.checks.file_metadata import read_metadata
from ..data.images.cache import decode_cached
from ..models.build import get_backbone
from ..spec import RunConfig
from .dataset import ProbeData, Round
from .ranking import accuracy

MAX_IMAGES = 2000  # sampled


def score_baselines(config: RunConfig, data: ProbeData, round_: Round) -> dict[str, Any]:
    """{"n", "scores": {baseline: score}} in the cross-validation of the probes."""
    sample = np.sort(np.random.default_rng(config.seed).permutation(len(round_))[:MAX_IMAGES])
    positions, labels, folds = round_.positions[sample], round_.labels[sample], round_.folds[sample]
    predicted = {"largest_class": np.full(len(labels), np.bincount(labels).argmax())}
    if len(labels) >= MIN_FIT:
        weight = "balanced" if data.metric == "balanced_accuracy" else None
        for name, values in _features(config, data, positions):
            predicted[name] = _out_of_fold(values, labels, folds, weight)
    scores = {name: float(accuracy(guess, labels, data.metric)) for name, guess in predicted.items()}
    return {"n": len(labels), "scores": scores}


def _features(config: RunConfig, data: ProbeData, positions: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if isinstance(data.images, list):
        yield "file_metadata", encode_metadata(read_metadata([data.images[i] for i in positions]))
    preprocess = get_backbone(config.model).preprocess(config.image_size)
    preprocess = replace(preprocess, value_range=data.value_range, bands=config.bands)
    pixels = decode_cached(data.images, preprocess, config.dataset.native)[0][positions]
    yield "border_pixels", border_pixels(pixels)
    yield "colours", colours(pixels)


def _out_of_fold(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, weight: str | None) -> np.ndarray:
    """(N,) the class of every image, predicted by trees that were fitted to the other folds."""
    predicted = np.empty_like(labels)
    for fold in np.unique(folds):
        held_out = folds == fold
        predicted[held_out] = (
            extra_trees(weight).fit(features[~held_out], labels[~held_out]).predict(features[held_out])
        )
    return predicted
