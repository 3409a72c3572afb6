"""Groups of images, by a regular expression or by sets of copies; each image is in one."""

import re
from collections import defaultdict
from collections.abc import Sequence

from ...errors import UserError
from ...spec import Samples

MIN_GROUPS = 2  # of a class, so that one can be held out
MIN_DISTINCT = 3  # units of a class (groups, or images apart from copies): for train, validation and test


def groups_by(names: Sequence[str], pattern: str) -> list[str]:
    """The first capture of `pattern` in every name, or its whole match.

    Raises:
        UserError: not a regular expression, a name does not match it, or all have the same match.
    """
    try:
        matches = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise UserError(f"not a valid regular expression: '{pattern}' ({error})") from None
    groups = [match and (match[1] if match.re.groups else match[0]) for match in matches]
    if None in groups:
        raise UserError(f"no group for {names[groups.index(None)]!r}: '{pattern}' does not match")
    if len(set(groups)) == 1:
        raise UserError(
            f"--group_by '{pattern}' puts all images in one group, {groups[0]!r}: expected several, "
            "so that some can be held out"
        )
    return groups


def check_groups(samples: Samples, pattern: str) -> None:
    """Raises: UserError: a class has a single group, although it has several images."""
    groups: dict[int, set[str]] = defaultdict(set)
    for label, group in zip(samples.labels, samples.groups, strict=True):
        groups[label].add(group)
    if single := [label for label in sorted(groups) if len(groups[label]) < MIN_GROUPS]:
        first = single[0]
        raise UserError(
            f"--group_by '{pattern}': class {samples.classes[first]!r} is one group ({next(iter(groups[first]))!r}), "
            f"so nothing of it can be held out: expected {MIN_GROUPS} groups or more of every class"
        )


def separable(samples: Samples, sets: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The sets of copies without those of classes that would have too few distinct images for a split."""
    scarce = scarce_classes(samples.labels, join(samples.names, None, sets))
    return [members for members in sets if not scarce & {samples.labels[i] for i in members}]


def scarce_classes(labels: Sequence[int], units: Sequence[str]) -> set[int]:
    """The classes with too few units for a split."""
    distinct: dict[int, set[str]] = defaultdict(set)
    for label, unit in zip(labels, units, strict=True):
        distinct[label].add(unit)
    return {label for label, found in distinct.items() if len(found) < MIN_DISTINCT}


def join(names: Sequence[str], groups: Sequence[str] | None, sets: Sequence[Sequence[int]]) -> list[str]:
    """The groups, or single images, joined where a set has images of several; a group has the name of its first one.

    Groups of no set keep their names, and so their positions in a split.
    """
    units = list(groups or names)
    parent = {unit: unit for unit in dict.fromkeys(units)}

    def root(unit: str) -> str:
        while parent[unit] != unit:
            parent[unit] = unit = parent[parent[unit]]
        return unit

    for first, *others in sets:
        for i in others:
            parent[root(units[i])] = root(units[first])
    return [root(unit) for unit in units]
