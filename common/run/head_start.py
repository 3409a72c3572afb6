"""The initial head of a network: a linear probe of its frozen features.

LP-FT: Kumar et al. 2022, arXiv 2202.10054.
"""

from dataclasses import replace

import numpy as np
from torch import nn

from ..data.loader import Batches
from ..metrics import calibration
from ..models.registry import Backbone
from ..transfer import linear_probe
from ..transfer.blas import single_threaded_blas
from ..transfer.features import MAX_BATCH, forward_features
from ..transfer.folds import assign_folds

MAX_IMAGES = 10_000  # more take gigabytes in the cross-validation and hardly change a probe
ONE_SHOT_TEMPERATURE = 0.05  # not fitted: MobileNetV2's on four real datasets lie between 0.016 and 0.09
SOFTENING = 10  # factor of the temperature: a head of calibrated confidence is a worse start (docs/training.md)
Head = tuple[np.ndarray, np.ndarray]  # (C, D) weight and (C,) bias, float32


def probe_head(
    net: nn.Module,
    backbone: Backbone,
    train: Batches,
    n_classes: int,
    groups: np.ndarray | None,
    precision: str,
    seed: int,
) -> Head:
    """Fit a ridge regression to the features of at most `MAX_IMAGES` training images, without augmentation.

    `net` loses its head. `groups`: (N,) int; the penalty is chosen on groups left out as a whole.

    A ridge regression predicts between 0 and 1: logits of hardly any confidence. They are divided by the temperature of the
    lowest out-of-fold NLL times `SOFTENING`. Validation images are not used.
    """
    drawn = _sample(train.labels, seed)
    labels, groups = train.labels[drawn], None if groups is None else groups[drawn]
    batches = replace(
        train,
        labels=labels,
        indices=train.indices[drawn],
        batch_size=MAX_BATCH[train.device.type],
        micro_batches=1,
        balanced=False,
        rank=0,
        world=1,
    )
    features = forward_features(net, backbone, batches, precision).values
    with single_threaded_blas():
        probe = linear_probe.fit(features, labels, n_classes, groups)
    if _single_units(labels, groups):
        return probe.layer(SOFTENING * ONE_SHOT_TEMPERATURE)
    folds = assign_folds(labels, groups, seed)
    logits = linear_probe.out_of_fold(features, labels, n_classes, folds, groups)
    return probe.layer(SOFTENING * calibration.fit_temperature(logits, labels))


def _sample(labels: np.ndarray, seed: int) -> np.ndarray:
    """Positions of all images, or of `MAX_IMAGES`: the same fraction of every class, and at least one of each."""
    if len(labels) <= MAX_IMAGES:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    counts = np.bincount(labels)
    fraction = np.empty(len(labels))
    for c in np.flatnonzero(counts):
        fraction[order[labels[order] == c]] = np.arange(counts[c]) / counts[c]
    return np.sort(np.argsort(fraction, kind="stable")[:MAX_IMAGES])


def _single_units(labels: np.ndarray, groups: np.ndarray | None) -> bool:
    """Whether no class has two images, or all images are one group: nothing can be left out."""
    return np.bincount(labels).max() < 2 or (groups is not None and len(np.unique(groups)) < 2)
