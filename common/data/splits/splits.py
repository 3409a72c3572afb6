"""Split into train, val and test: stratified, grouped, seeded, the same on every machine.

Images are drawn in the order of the SHA-256 of seed and name, so a split does not depend on directory order,
platform or library version, and adding an image moves no other.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import ceil

from ...errors import UserError
from ...spec import PARTS, Dataset, Official, Samples, Split
from .requirements import check_classes

VAL_FRACTION = 0.1  # of train, for a dataset without an official validation set


def holdout(
    names: Sequence[str], labels: Sequence[int], groups: Sequence[str] | None, fraction: float, seed: int, purpose: str
) -> set[int]:
    """Positions of `ceil(fraction * n)` images of every class, see `sample_units`."""
    return sample_units(names, labels, groups, class_counts(labels, fraction), seed, purpose)


def class_counts(labels: Sequence[int], fraction: float) -> dict[int, int]:
    """`ceil(fraction * n)` for every class of n images: the only rule that turns a fraction into a count."""
    return {label: ceil(fraction * n) for label, n in Counter(labels).items()}


def sample_units(
    names: Sequence[str],
    labels: Sequence[int],
    groups: Sequence[str] | None,
    wanted: Mapping[int, int],
    seed: int,
    purpose: str,
) -> set[int]:
    """Positions of `wanted[class]` images of every class, drawn in whole groups.

    Without groups the count is exact. With groups, a group is taken, in drawn order, if that brings the classes closer
    to their counts; a class that would get none gets its smallest group, if another is left. `purpose` makes the draws
    of one seed (test, val) independent.
    """
    missing = dict(wanted)
    taken: set[int] = set()
    for members in _shuffled(tuple(groups or names), seed, purpose):
        if len(members) == 1:  # the general rule below, faster
            label = labels[members[0]]
            if missing[label] > 0:
                taken.add(members[0])
                missing[label] -= 1
            continue
        gain = Counter(labels[i] for i in members)
        if sum(abs(missing[c] - n) - abs(missing[c]) for c, n in gain.items()) < 0:
            taken.update(members)
            for c, n in gain.items():
                missing[c] -= n
    return taken | _smallest_groups(labels, groups, wanted, taken) if groups else taken


def _smallest_groups(
    labels: Sequence[int], groups: Sequence[str], wanted: Mapping[int, int], taken: set[int]
) -> set[int]:
    """The positions of the smallest group of every class that is wanted but not taken and has several groups left."""
    lacking = {c for c, n in wanted.items() if n > 0} - {labels[i] for i in taken}
    left: dict[int, Counter[str]] = {label: Counter() for label in sorted(lacking)}
    for label, group in zip(labels, groups, strict=True):
        if label in lacking:
            left[label][group] += 1
    smallest = {min(sizes, key=lambda g: (sizes[g], g)) for sizes in left.values() if len(sizes) > 1}
    return {i for i, group in enumerate(groups) if group in smallest} if smallest else set()


@lru_cache(maxsize=4)  # all seeds of a sweep draw the same test images
def _shuffled(units: tuple[str, ...], seed: int, purpose: str) -> list[list[int]]:
    """The positions of every unit (a group, or the name of a single image); units are in drawn order."""
    members: dict[str, list[int]] = defaultdict(list)
    for i, unit in enumerate(units):
        members[unit].append(i)
    order = sorted(members, key=lambda unit: hashlib.sha256(f"{purpose}/{seed}/{unit}".encode()).digest())
    return [members[unit] for unit in order]


def split(dataset: Dataset, samples: Samples, seed: int) -> Split:
    """Official parts, or a held-out test set; without an official validation set, carve it from train with `seed`."""
    n = len(samples)
    if isinstance(dataset.split, Official) or samples.parts:
        if not samples.parts:
            raise ValueError(f"{dataset.name}: an official split, but its reader returns no parts")
        parts = list(samples.parts)
    else:
        rule = dataset.split
        labels = samples.labels if rule.stratify else [0] * n
        groups = samples.groups if rule.groups else None
        test = holdout(samples.names, labels, groups, rule.test, rule.seed, "test")
        parts = ["test" if i in test else "train" for i in range(n)]
    if "val" not in parts:
        train = [i for i in range(n) if parts[i] == "train"]
        groups = [samples.groups[i] for i in train] if samples.groups else None
        names, labels = [samples.names[i] for i in train], [samples.labels[i] for i in train]
        wanted = class_counts(labels, VAL_FRACTION)
        wanted |= {label: 0 for label, available in Counter(labels).items() if available == 1}
        for j in sample_units(names, labels, groups, wanted, seed, "val"):
            parts[train[j]] = "val"
    members = {part: tuple(i for i in range(n) if parts[i] == part) for part in PARTS}
    drawn = () if samples.parts else ("test",)
    caveats = check_classes(samples, members, required=("train", *drawn))
    return Split(**members, fingerprint=fingerprint(samples, parts), caveats=caveats)


def without_val(samples: Samples, split: Split) -> Split:
    """The split without validation: the images that were held out of train return to it."""
    if samples.parts and "val" in samples.parts:
        return split
    train, test = set(split.train + split.val), set(split.test)
    parts = ["train" if i in train else "test" if i in test else "" for i in range(len(samples))]
    caveats = tuple(caveat for caveat in split.caveats if not caveat.startswith("validation"))
    return replace(split, train=tuple(sorted(train)), val=(), fingerprint=fingerprint(samples, parts), caveats=caveats)


def reduce_train(samples: Samples, split: Split, seed: int, shots: int | None, fraction: float | None) -> Split:
    """The split with fewer training images: `shots` of every class, or `fraction` of them.

    Validation shrinks in the same proportion, per class and rounded up, so every class keeps one image. Test does not
    change. The subsets of one seed are nested: those of 1 shot are among those of 5. Shots count images, whatever their
    groups: no part gains an image, so no group is in two parts. A fraction takes whole groups, as a smaller
    study would have, until every class has its share.

    Raises:
        UserError: a class has fewer training images than `shots`.
    """
    if shots is None and fraction is None:
        return split
    train, val = ([samples.labels[i] for i in part] for part in (split.train, split.val))
    available = Counter(train)
    least = min(available, key=lambda label: available[label])
    if shots and available[least] < shots:
        raise UserError(
            f"--shots {shots}: class {samples.classes[least]!r} has {available[least]} images in train, the fewest of all"
        )
    wanted = dict.fromkeys(available, shots) if shots else class_counts(train, fraction)
    wanted_val = {label: -(-n * wanted[label] // available[label]) for label, n in Counter(val).items()}
    units = samples.names if shots or not samples.groups else samples.groups
    reduced = {
        "train": _first(samples.labels, units, split.train, wanted, seed),
        "val": _first(samples.labels, units, split.val, wanted_val, seed),
        "test": split.test,
    }
    part_of = {i: part for part, positions in reduced.items() for i in positions}
    parts = [part_of.get(i, "") for i in range(len(samples))]
    return replace(split, **reduced, fingerprint=fingerprint(samples, parts))


def _first(
    labels: Sequence[int], units: Sequence[str], positions: Sequence[int], wanted: Mapping[int, int], seed: int
) -> tuple[int, ...]:
    """Those of `positions` whose unit is drawn before all of its classes have `wanted` images.

    Every drawn unit counts, taken or not: that makes a smaller subset part of a larger one.
    """
    taken: list[int] = []
    drawn: Counter[int] = Counter()
    for members in _shuffled(tuple(units[i] for i in positions), seed, "few"):
        members = [positions[j] for j in members]
        gain = Counter(labels[i] for i in members)
        if any(drawn[label] < wanted[label] for label in gain):
            taken += members
        drawn += gain
    return tuple(sorted(taken))


def fingerprint(samples: Samples, parts: Sequence[str]) -> str:
    """The first 16 hex digits of the SHA-256 of the sorted lines `name,class,part` of all images in a part."""
    rows = zip(samples.names, samples.labels, parts, strict=True)
    lines = sorted(f"{name},{samples.classes[label]},{part}\n" for name, label, part in rows if part)
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def test_fingerprint(samples: Samples, split: Split) -> str:
    """`fingerprint` of the test images; it does not depend on the seed."""
    test = set(split.test)
    return fingerprint(samples, ["test" if i in test else "" for i in range(len(samples))])


def present_classes(samples: Samples) -> Samples:
    """Drop classes without images and renumber the labels."""
    present = sorted(set(samples.labels))
    index = {label: i for i, label in enumerate(present)}
    return replace(
        samples,
        labels=[index[label] for label in samples.labels],
        classes=tuple(samples.classes[label] for label in present),
    )


def subset(samples: Samples, positions: Sequence[int]) -> Samples:
    """The samples at these positions, without their images, which are decoded by now."""

    def select(values: Sequence | None) -> list | None:
        return None if values is None else [values[i] for i in positions]

    return replace(
        samples,
        images=None,
        names=select(samples.names),
        labels=select(samples.labels),
        parts=select(samples.parts),
        groups=select(samples.groups),
    )
