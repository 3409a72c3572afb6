"""The data that backbones are scored on: images not held out, or a stratified sample of them, in their groups."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.dataset import read_samples
from ..data.images.cache import decode_cached
from ..data.images.decode import raise_unreadable
from ..data.splits import splits
from ..data.splits.export_folders import groups_by
from ..errors import UserError
from ..spec import Preprocess, RunConfig, Samples, Split
from .words import SKEW

SHARES = (1 / 8, 1 / 4, 1 / 2)  # of the images, for a first, second and third look under a budget
LEAST = 10  # images of a class, on average, that a look is worth
GROUPS = 3  # that a look needs: to leave one out, and then another one


@dataclass(frozen=True, kw_only=True)
class Material:
    samples: Samples
    split: Split  # of all samples: test is held out
    images: Any  # `Samples.images`, or of them those that are opened at all
    labels: np.ndarray  # (images,) int
    groups: np.ndarray | None  # (images,) int: a number per group
    looks: tuple[np.ndarray, ...]  # positions in `images`: a first look's, and what every further one adds
    metric: str  # top1 or balanced_accuracy
    learn: Split  # what a fine-tuning run, told the same, has

    @property
    def probed(self) -> int:
        return sum(map(len, self.looks))

    def rows(self, look: int) -> np.ndarray:
        """Positions of all that has been seen after a look."""
        return np.concatenate(self.looks[: look + 1])

    def groups_of(self, rows: np.ndarray) -> np.ndarray | None:
        return None if self.groups is None else self.groups[rows]


def gather(
    config: RunConfig, preprocess: Preprocess, group_by: str | None, limit: int | None, looks: bool
) -> Material:
    """Read, split, and draw what is looked at: about `limit` images, if there are more; in several `looks` or one.

    The images are decoded here, with `preprocess`, to learn which cannot be read.

    Raises:
        UserError: something in the data that the user can fix.
    """
    samples = read_samples(config)
    if group_by:
        samples = replace(samples, groups=groups_by(samples.names, group_by))
    split = splits.split(config.dataset, samples, config.seed)
    few = splits.reduce_train(samples, split, config.seed, config.shots, config.fraction)
    learn, there = few, len(few.train) + len(few.val)
    if limit and limit < there:
        few = splits.reduce_train(samples, few, config.seed, None, limit / there)
    chosen, opened = sorted(few.train + few.val), range(len(samples))
    images = samples.images
    if isinstance(images, list) and len(chosen) < len(split.train) + len(split.val):
        opened, images = chosen, [images[i] for i in chosen]
    _, bad = decode_cached(images, preprocess, config.dataset.native)
    if not config.skip_bad:
        raise_unreadable(bad, images if isinstance(images, list) else samples.names)
    place = {position: i for i, position in enumerate(opened) if i not in bad}
    labels = np.asarray(samples.labels)[opened]
    groups = None
    if samples.groups:
        groups = np.unique(np.asarray(samples.groups)[opened], return_inverse=True)[1]
    shares = [s for s in SHARES if looks and s * len(chosen) >= LEAST * len(samples.classes)]
    parts = _parts(samples, few, config.seed, shares)
    material = Material(
        samples=samples,
        split=split,
        images=images,
        labels=labels,
        groups=groups,
        looks=tuple(_added([[place[i] for i in part if i in place] for part in parts], groups)),
        metric=_metric(config.dataset.metric, labels),
        learn=learn,
    )
    _check_groups(material)
    return material


def _parts(samples: Samples, few: Split, seed: int, shares: list[float]) -> list[list[int]]:
    """Growing parts of what is looked at, each within the next, groups whole; the last is all."""
    drawn = [splits.reduce_train(samples, few, seed, None, share) for share in shares]
    return [sorted(part.train + part.val) for part in (*drawn, few)]


def _added(parts: list[list[int]], groups: np.ndarray | None) -> list[np.ndarray]:
    """What each part has that the one before it has not. Parts that have nothing new, or too few groups, are passed over."""
    looks: list[np.ndarray] = []
    seen: set[int] = set()
    for place, part in enumerate(parts, 1):
        new = [i for i in part if i not in seen]
        few = groups is not None and len(np.unique(groups[part])) < GROUPS
        if new and not (few and place < len(parts)):
            looks.append(np.asarray(new, int))
            seen.update(part)
    return looks


def _metric(sheets: str, labels: np.ndarray) -> str:
    """The sheet's top-1 while no class is much larger than its even share; else the mean accuracy of the classes."""
    counts = np.unique(labels, return_counts=True)[1]
    skewed = counts.max() * len(counts) > SKEW * counts.sum()
    return "top1" if sheets == "top1" and not skewed else "balanced_accuracy"


def _check_groups(material: Material) -> None:
    """Raises: UserError: too few groups to leave one out, and then another one."""
    if material.groups is None:
        return
    there = len(np.unique(material.groups[np.concatenate(material.looks)]))
    if there < GROUPS:
        raise UserError(
            f"only {there} groups outside the test images: nested cross-validation needs at least {GROUPS}; "
            "check --group_by"
        )
