"""The score on the test images that share no group with training images: no copy, patient, clip."""

from typing import Any

import numpy as np

from ..data.dataset import LoadedDataset
from .evaluation import score_with_intervals


def groups_of_test(dataset: LoadedDataset) -> np.ndarray | None:
    """(N,) the group of every test image; None without groups."""
    groups = dataset.samples.groups
    return None if groups is None else np.asarray([groups[i] for i in dataset.split.test])


def disjoint_scores(dataset: LoadedDataset, logits: np.ndarray, seed: int) -> dict[str, Any] | None:
    """{"images", "shared", "scores"} without the test images that share a group with train or validation.

    `logits`: (N, C) of the test images. None if there are no groups, or none of them is in several parts.
    """
    groups, split = groups_of_test(dataset), dataset.split
    if groups is None:
        return None
    trained = {dataset.samples.groups[i] for i in (*split.train, *split.val)}
    unshared = np.asarray([group not in trained for group in groups])
    if unshared.all():
        return None
    labels = np.asarray([dataset.samples.labels[i] for i in split.test])
    n = int(unshared.sum())
    scores = score_with_intervals(logits[unshared], labels[unshared], seed, groups[unshared]) if n else {}
    return {"images": n, "shared": len(groups) - n, "scores": scores}
