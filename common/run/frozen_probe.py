"""How well a probe of a small frozen network classifies the images that `check` has read."""

import random
from collections import Counter

from ..data.checks.baselines import MIN_FIT
from ..data.checks.report import SEED, Report
from ..errors import UserError
from ..transfer.grouping import preprocess_for_probe, probe_features
from ..transfer.small_network import BACKBONE, SIZE
from .groups import group_indices

MAX_IMAGES = 500  # sampled


def frozen_probe(report: Report) -> str | None:
    """Its balanced accuracy in cross-validation, as a line. The probe is fitted without the image's group.

    None: the network's weights are not on this machine, there are fewer than `MIN_FIT` images, or fewer than two classes have
    two images.
    """
    import numpy as np

    from ..transfer import linear_probe
    from ..transfer.folds import assign_folds

    samples, preprocess = report.samples, report.preprocess
    readable = report.readable
    positions = sorted(random.Random(SEED).sample(readable, min(len(readable), MAX_IMAGES)))
    counts = Counter(samples.labels[i] for i in positions)
    positions = [i for i in positions if counts[samples.labels[i]] > 1]
    if len(positions) < MIN_FIT or sum(n > 1 for n in counts.values()) < 2:
        return None
    pixels = preprocess_for_probe(preprocess.value_range, preprocess.bands)
    try:
        features = probe_features(samples.images, positions, pixels, offline=True, cache=True)
    except UserError:
        return None
    values = np.stack([features[i] for i in positions])
    labels = np.unique([samples.labels[i] for i in positions], return_inverse=True)[1]
    groups = group_indices(samples, positions)
    fold = assign_folds(labels, groups, SEED)
    n_classes = labels.max() + 1
    predicted = linear_probe.out_of_fold(values, labels, n_classes, fold, groups, balanced=True).argmax(1)
    recalls = np.bincount(labels, predicted == labels) / np.bincount(labels)
    return (
        f"frozen probe ({BACKBONE} at {SIZE[0]} pixels), balanced accuracy in {fold.max() + 1} folds of {len(positions):,} "
        f"images{', groups kept apart' if groups is not None else ''}: {100 * recalls.mean():.1f} %"
    )
