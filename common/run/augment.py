"""Choose the augmentation of a run where the data sheet leaves it open: quarter turns for images without an orientation."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from typing import Any

import numpy as np
from accelerate.utils import broadcast_object_list

from ..data.dataset import LoadedDataset
from ..data.images.cache import content_hash
from ..data.images.decode import decode
from ..files.disk_cache import cached
from ..transfer.folds import FOLDS
from ..transfer.orientation import has_orientation, measure, turned_features
from ..transfer.small_network import local_extractor
from .groups import group_indices
from .setup import Setup

FORMAT = 2  # of the cached figures: increase it when they would differ
MIN_IMAGES, MAX_IMAGES = 400, 600  # outside test; with fewer, flowers look as free of an orientation as aerial images


def choose_augment(setup: Setup, log: Callable[[dict[str, Any]], None]) -> Setup:
    """The setup with quarter turns if the data sheet leaves them open and the images have no orientation; `log` gets the reason.

    A resumed run keeps its augmentation. Without `MIN_IMAGES`, a square input and the weights of the small network there are no turns.
    """
    augment, task = setup.config.dataset.augment, setup.task
    if augment.dihedral is not None:
        return setup
    orientation = setup.settings["orientation"]
    if not orientation and task.recipe.steps and not setup.config.resume:
        orientation = _measure(setup.dataset, cache=not setup.config.no_cache) if setup.main_process else None
        (orientation,) = broadcast_object_list([orientation])  # several processes must not see different caches
    turns = orientation is not None and not has_orientation(orientation)
    if turns:
        log({"note": _format(orientation)})
    augment = replace(augment, dihedral=turns)
    return replace(
        setup,
        config=replace(setup.config, dataset=replace(setup.config.dataset, augment=augment)),
        task=replace(task, augment=augment),
        settings=setup.settings | {"augment": asdict(augment), "orientation": orientation},
    )


def _format(orientation: dict[str, Any]) -> str:
    return (
        f"the images have no orientation: of {orientation['n']} images a probe predicts the rotation of {100 * orientation['rotation']:.0f} % (chance: 25 %), and the class of "
        f"{100 * orientation['top1_turned']:.0f} % when rotated, of {100 * orientation['top1']:.0f} % as they are; training adds quarter turns "
        "(--augment flip trains without them)"
    )


def _measure(dataset: LoadedDataset, cache: bool) -> dict[str, Any] | None:
    """On a sample of training and validation images, decoded for the small network: the same for all networks and sizes.

    It is the same for all seeds, too, unless `--shots` or `--fraction` draw other images.
    """
    positions = _draw(dataset)
    height, width = dataset.preprocess.size
    if len(positions) < MIN_IMAGES or height != width or not (extractor := local_extractor()):
        return None
    images, indices, given = dataset.samples.images, dataset.indices[positions], dataset.preprocess
    preprocess = replace(extractor.preprocess, value_range=given.value_range, bands=given.bands)
    labels = np.unique(np.asarray(dataset.samples.labels)[positions], return_inverse=True)[1]
    groups = group_indices(dataset.samples, positions)
    if groups is not None and groups.max() < FOLDS:  # too few to leave out
        groups = None

    def compute() -> dict[str, Any]:
        begin = time.perf_counter()
        pixels, _ = decode([images[i] for i in indices], preprocess, None)
        return {**measure(turned_features(extractor, pixels), labels, groups), "seconds": time.perf_counter() - begin}

    if not cache:
        return compute()
    key = {
        "format": FORMAT,
        "images": content_hash(images, preprocess.size, preprocess),
        "sample": hashlib.sha256(np.stack((indices, labels)).tobytes()).hexdigest(),
        "groups": groups is not None and hashlib.sha256(groups.tobytes()).hexdigest(),
        "network": extractor.sha256,
        "versions": [version("scikit-learn"), version("torch")],
    }
    return cached("orientations", key, compute)


def _draw(dataset: LoadedDataset) -> np.ndarray:
    """(N,) positions outside test, of classes with two of them at least."""
    split, labels = dataset.split, np.asarray(dataset.samples.labels)
    drawn = np.random.default_rng(0).permutation(sorted(split.train + split.val))[:MAX_IMAGES]
    return np.sort(drawn[np.bincount(labels[drawn])[labels[drawn]] > 1])
