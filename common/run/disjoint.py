"""The scores on test images that are new: of no training image's group (copy, patient, clip), not trained on by the initial weights."""

from typing import Any

import numpy as np

from ..data.dataset import LoadedDataset
from .evaluation import score_with_intervals


def groups_of(dataset: LoadedDataset, part: str) -> np.ndarray | None:
    """(N,) the group of every image of a part; None without groups."""
    groups = dataset.samples.groups
    return None if groups is None else np.asarray([groups[i] for i in getattr(dataset.split, part)])


def disjoint_scores(dataset: LoadedDataset, logits: np.ndarray, seed: int, seen: np.ndarray) -> dict[str, Any] | None:
    """{"images", "shared", "scores"} without the test images that share a group with train or validation, or were `seen`.

    None if there are no such images.

    Args:
        logits: (N, C) of the test images.
        seen: (N,) bool, those that the initial weights were trained on.
    """
    groups, split = groups_of(dataset, "test"), dataset.split
    unshared = ~seen
    if groups is not None:
        trained = {dataset.samples.groups[i] for i in (*split.train, *split.val)}
        unshared &= np.asarray([group not in trained for group in groups])
    if unshared.all():
        return None
    labels, n = np.asarray([dataset.samples.labels[i] for i in split.test]), int(unshared.sum())
    groups = None if groups is None else groups[unshared]
    scores = score_with_intervals(logits[unshared], labels[unshared], seed, groups) if n else {}
    return {"images": n, "shared": len(seen) - n, "scores": scores}
