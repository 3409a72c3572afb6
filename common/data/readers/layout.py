"""How a reader interprets a data folder: a record and its one-line description."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...spec import Samples

FULL = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The source of parts and labels, and the files that are left out."""

    source: str  # "class folders", "labels.csv"
    parts: Mapping[str, str] = field(default_factory=dict)  # {"val": "valid/"}: the folder or value of each part
    notes: tuple[str, ...] = ()  # decisions that the user may not expect
    caveats: tuple[str, ...] = ()  # those of them that limit the result
    only_copies: bool = False  # every group of several images is a set of copies, which a note counts
    skipped: Mapping[str, int] = field(default_factory=dict)  # files that are not read, by reason


def format_layout(samples: Samples) -> list[str]:
    """`train/ 840, valid/ 120 (validation), test/ 240`, `5 classes`, `3 files skipped (.heic)`; empty if there are none."""
    missing = ()
    if n := len(samples.missing):
        missing = (f"{n:,} listed {'images are' if n > 1 else 'image is'} missing (first {samples.missing[0]})",)
    layout: Layout | None = samples.layout
    if layout is None:
        return [*missing]
    counts = Counter(samples.parts or ())
    if layout.parts:
        where = ", ".join(
            f"{name} {counts[part]:,}{'' if name.lower().strip('/') == part else f' ({FULL[part]})'}"
            for part, name in layout.parts.items()
        )
        where = where if layout.source == "class folders" else f"{layout.source}: {where}"
    else:
        where = f"{layout.source}: {len(samples):,} images"
    groups = f", {len(set(samples.groups)):,} groups" if samples.groups and not layout.only_copies else ""
    classes = f"{len(samples.classes):,} classes{groups}"
    return [where, classes, *layout.notes, *missing, *format_skipped(layout.skipped)]


def format_skipped(skipped: Mapping[str, int]) -> list[str]:
    """`3 files skipped (.heic)`, with a count per reason where there are several; empty without any."""
    total = sum(skipped.values())
    if not total:
        return []
    reasons = sorted(skipped.items(), key=lambda item: (-item[1], item[0]))
    text = ", ".join(reason if len(reasons) == 1 else f"{n:,} {reason}" for reason, n in reasons)
    return [f"{total:,} {'files' if total > 1 else 'file'} skipped ({text})"]
