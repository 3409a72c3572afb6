"""The scores of baselines on the images of a round: the largest class, and predictions that do not see the object."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..data.checks.baselines import MIN_FIT, baseline_features, extra_trees
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
        pixels = _pixels(config, data)[positions]
        for name, features in baseline_features(data.images, positions, pixels):
            predicted[name] = _out_of_fold(features, labels, folds, weight)
    scores = {name: float(accuracy(guess, labels, data.metric)) for name, guess in predicted.items()}
    return {"n": len(labels), "scores": scores}


def _pixels(config: RunConfig, data: ProbeData) -> np.ndarray:
    """(N, H, W, 3) uint8 of all images, from the cache."""
    preprocess = get_backbone(config.model).preprocess(config.image_size)
    preprocess = replace(preprocess, value_range=data.value_range, bands=config.bands)
    return decode_cached(data.images, preprocess, config.dataset.native)[0]


def _out_of_fold(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, weight: str | None) -> np.ndarray:
    """(N,) the class of every image, predicted by trees that were fitted to the other folds."""
    predicted = np.empty_like(labels)
    for fold in np.unique(folds):
        held_out = folds == fold
        predicted[held_out] = (
            extra_trees(weight).fit(features[~held_out], labels[~held_out]).predict(features[held_out])
        )
    return predicted
