"""The images that backbones are scored on: all but the test images, or a stratified sample of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data.dataset import fit_preprocess, read_samples
from ..data.images.cache import decode_cached
from ..data.images.decode import raise_unreadable
from ..data.readers.layout import format_layout
from ..data.splits import splits
from ..errors import UserError, printable
from ..models import build
from ..run.groups import group_indices
from ..spec import RunConfig, Samples, Split
from ..transfer.folds import assign_folds

ROUND_FRACTIONS = (1 / 8, 1 / 4, 1 / 2)  # of the images, in the rounds before the last
MIN_PER_CLASS = 10  # images of a class in a round, on average
SKEW = 1.5  # largest class, relative to the mean class, above which balanced accuracy is the metric
MIN_GROUPS = 3  # in a round, for nested cross-validation


@dataclass(frozen=True, kw_only=True)
class Round:
    """The N images of one round of comparisons: those of the round before, then the new ones."""

    positions: np.ndarray  # (N,) int, in `ProbeData.images`
    n_new: int  # images that are not in earlier rounds, the last of `positions`
    labels: np.ndarray  # (N,) int
    groups: np.ndarray | None  # (N,) int
    folds: np.ndarray  # (N,) int, of the cross-validation

    def __len__(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, kw_only=True)
class ProbeData:
    samples: Samples
    split: Split  # of all samples: test is held out
    finetune_split: Split  # of a fine-tuning run with the same options
    images: Any  # `Samples.images`, or the decoded subset of them
    rounds: tuple[Round, ...]
    metric: str  # top1 or balanced_accuracy
    value_range: tuple[float, float] | None  # of `Preprocess`

    @property
    def n_images(self) -> int:
        return len(self.rounds[-1])


def load(config: RunConfig, limit: int | None, several_rounds: bool, log: Callable[[str], None]) -> ProbeData:
    """Read, split and sample the images, and decode them to find unreadable ones.

    `limit`: approximate number of images to sample; None: use all but test.

    Raises:
        UserError: something in the data that the user can fix.
    """
    samples = read_samples(config)
    split = splits.split(config.dataset, samples, config.seed)
    if line := "; ".join([*format_layout(samples), *split.caveats]):
        log(printable(line))
    finetune_split = splits.reduce_train(samples, split, config.seed, config.shots, config.fraction)
    sample, n_available = finetune_split, len(finetune_split.train) + len(finetune_split.val)
    if limit and limit < n_available:
        sample = splits.reduce_train(samples, sample, config.seed, None, limit / n_available)
    members = sorted(sample.train + sample.val)
    images, decoded = samples.images, range(len(samples))
    if isinstance(images, list) and len(members) < len(split.train) + len(split.val):
        images, decoded = [images[i] for i in members], members  # otherwise all, as a run decodes them
    preprocess = build.get_backbone(config.model).preprocess(config.image_size)
    preprocess = fit_preprocess(config, preprocess, samples, split)
    _, bad = decode_cached(images, preprocess, config.dataset.native)
    if not config.skip_bad:
        raise_unreadable(bad, images if isinstance(images, list) else samples.names)
    position_of = {i: position for position, i in enumerate(decoded) if position not in bad}
    parts = _nested_parts(samples, sample, config.seed) if several_rounds else [members]
    parts = [[position_of[i] for i in part if i in position_of] for part in parts]
    labels, groups = np.asarray(samples.labels)[decoded], group_indices(samples, decoded)
    rounds = tuple(_rounds(parts, labels, groups, config.seed))
    return ProbeData(
        samples=samples,
        split=split,
        finetune_split=finetune_split,
        images=images,
        rounds=rounds,
        metric=_metric(config.dataset.metric, rounds[-1].labels),
        value_range=preprocess.value_range,
    )


def _nested_parts(samples: Samples, sample: Split, seed: int) -> list[list[int]]:
    """Growing stratified parts with whole groups, each a subset of the next; the last is the whole sample."""
    n, n_classes = len(sample.train) + len(sample.val), len(samples.classes)
    fractions = [f for f in ROUND_FRACTIONS if f * n >= MIN_PER_CLASS * n_classes]
    drawn = [splits.reduce_train(samples, sample, seed, None, fraction) for fraction in fractions]
    return [sorted(part.train + part.val) for part in (*drawn, sample)]


def _rounds(parts: list[list[int]], labels: np.ndarray, groups: np.ndarray | None, seed: int) -> list[Round]:
    """One round per part, without those that add no images or have too few groups.

    Raises:
        UserError: the last part has too few groups.
    """
    rounds: list[Round] = []
    positions = np.empty(0, int)
    for part in parts:
        new = np.setdiff1d(part, positions)
        n_groups = MIN_GROUPS if groups is None else len(np.unique(groups[part]))
        if n_groups < MIN_GROUPS and part is parts[-1]:
            raise UserError(
                f"only {n_groups} groups outside the test images: nested cross-validation needs at least {MIN_GROUPS}; "
                "check --group_by"
            )
        if n_groups < MIN_GROUPS or not len(new):
            continue
        positions = np.concatenate([positions, new.astype(int)])
        of_round = None if groups is None else groups[positions]
        folds = np.empty(len(positions), int)
        order = np.argsort(positions)  # the folds of some images do not depend on the rounds before
        sorted_groups = None if of_round is None else of_round[order]
        folds[order] = assign_folds(labels[positions[order]], sorted_groups, seed)
        rounds.append(
            Round(positions=positions, n_new=len(new), labels=labels[positions], groups=of_round, folds=folds)
        )
    return rounds


def _metric(sheet_metric: str, labels: np.ndarray) -> str:
    """Top-1 if the data sheet has it and no class is much larger than the mean class, else balanced accuracy."""
    counts = np.unique(labels, return_counts=True)[1]
    skewed = counts.max() * len(counts) > SKEW * counts.sum()
    return "top1" if sheet_metric == "top1" and not skewed else "balanced_accuracy"
