"""Read samples with the groups that a split never separates: given, found by a probe, or copies."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.groups import copies, group_by
from ..data.images.value_range import with_value_range
from ..data.readers.layout import Layout
from ..errors import UserError
from ..spec import Classes, Reader, Samples
from ..transfer.grouping import Grouping, find_grouping, preprocess_for_probe, untestable_folder

if TYPE_CHECKING:
    import numpy as np

AUTO, NONE = "auto", "none"  # of --group_by, besides regular expressions


@dataclass(frozen=True, kw_only=True)
class GroupConfig:
    """How to group the images of a folder."""

    by: str = AUTO  # a regular expression, AUTO or NONE; copies stay together in any case
    value_range: tuple[float, float] | None = None
    bands: tuple[int, int, int] | None = None
    offline: bool = False
    cache: bool = True
    split_file: bool = False  # a file defines the split, which is applied later


def read_grouped(root: Path, classes: Classes = None, *, load: Reader, config: GroupConfig) -> Samples:
    """The samples that `load` reads, with groups; notes in their layout explain them.

    Groups of the reader (patients, a table's column) replace those that AUTO would look for.

    Raises:
        UserError: a regular expression that gives no useful groups.
    """
    samples = load(root, classes)
    notes: list[str] = []
    split_is_given = bool(samples.parts) or config.split_file
    groups = samples.groups
    if config.by not in (AUTO, NONE):
        groups = group_by.groups_by(samples.names, config.by)
        if not split_is_given:
            group_by.check_groups(replace(samples, groups=groups), config.by)
    preprocess = preprocess_for_probe(config.value_range, config.bands)
    positions = range(len(samples))
    preprocess = with_value_range(preprocess, samples.images, positions, cache=config.cache)
    if config.by == AUTO and not groups:
        try:
            grouping = find_grouping(samples, preprocess, config.offline, config.cache)
        except UserError as error:
            notes.append(f"groups were not searched for: {error}")
        else:
            if grouping:
                groups = list(grouping.candidate.groups)
                notes.append(format_grouping(grouping, split_is_given))
                if not split_is_given and (scarce := group_by.scarce_classes(samples.labels, groups)):
                    units = zip(samples.labels, groups, samples.names, strict=True)
                    groups = [name if label in scarce else group for label, group, name in units]
                    first = samples.classes[min(scarce)]
                    notes.append(f"too few groups to keep together: {_format_classes(first, len(scarce))}")
            elif untested := untestable_folder(samples):
                notes.append(
                    f"images {untested.text} may resemble each other: too few groups to test; --group_by REGEX keeps them together"
                )
    sets = copies.copy_sets(samples.images, preprocess, config.cache)
    if sets := group_by.separable(samples, sets):
        notes.append(_format_copies(sets, split_is_given))
    if groups or sets:
        samples = replace(samples, groups=group_by.join(samples.names, groups, sets))
    if notes:
        layout = samples.layout or Layout(source="class folders")
        layout = replace(layout, notes=(*layout.notes, *notes), only_copies=bool(sets) and not groups)
        samples = replace(samples, layout=layout)
    return samples


def _format_classes(first: str, n: int) -> str:
    return f"class {first!r}" if n == 1 else f"{n} classes, such as {first!r}"


def format_grouping(grouping: Grouping, split_is_given: bool) -> str:
    mixed, apart = round(100 * grouping.mixed), round(100 * grouping.apart)
    effect = (
        "a given split does not change, the result has a second score on test images of groups that are not in train"
        if split_is_given
        else f"groups are kept together (--group_by {NONE} separates them)"
    )
    return (
        f"images {grouping.candidate.text} resemble each other: without an image's group the accuracy of a probe is {apart} % instead of {mixed} %; {effect}; "
        "if new images come from new groups, expect the lower one"
    )


def _format_copies(sets: list[list[int]], split_is_given: bool) -> str:
    n = sum(map(len, sets)) - len(sets)
    effect = "" if split_is_given else ", kept together"
    return f"{n:,} {'images are copies' if n > 1 else 'image is a copy'} of others (exact or near duplicates){effect}"


def group_indices(samples: Samples, positions: Iterable[int]) -> "np.ndarray | None":
    """(N,) int from 0: the group of the sample at each position; None without groups."""
    if not samples.groups:
        return None
    import numpy as np

    return np.unique(np.asarray(samples.groups)[list(positions)], return_inverse=True)[1]
