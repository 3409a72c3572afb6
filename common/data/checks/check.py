"""What is wrong with the data: images that cannot be read or look odd, duplicates, torn groups."""

import csv
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...files.atomic import atomic_write
from ...spec import PARTS, Dataset, Samples
from ..splits import splits
from . import duplicates
from .image_stats import ImageStats, image_stats

SEED = 0  # of the validation split, a run's default
USUAL = 0.9  # share of the images that makes their common size the usual one
FACTOR = 4  # without a usual size, one is odd whose side is so many times longer or shorter than the median


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding about one image; those of one `set` belong together."""

    kind: str
    position: int
    detail: str
    set: int | None = None
    serious: bool = False  # it stops a run or spoils its result; all else is good to know


@dataclass(frozen=True, kw_only=True)
class Report:
    dataset: Dataset
    samples: Samples
    parts: Sequence[str]  # of a run with the default seed; "": in none
    complaints: tuple[str, ...]  # why a run would refuse the data
    problems: tuple[Problem, ...]


def check(dataset: Dataset, folder: Path) -> Report:
    """Look at every image.

    Raises:
        UserError: there is nothing to look at.
    """
    samples = dataset.load(folder, dataset.classes)
    complaints = []
    try:
        splits.check_counts(dataset, samples)
    except UserError as error:
        complaints.append(str(error))
    samples = splits.present_classes(samples)
    parts = list(samples.parts or [""] * len(samples))
    try:
        split = splits.split(dataset, samples, SEED)
        for part in PARTS:
            for i in getattr(split, part):
                parts[i] = part
    except UserError as error:
        complaints.append(str(error))

    looks = dict(enumerate(image_stats(samples.images)))
    seen = {i: look for i, look in looks.items() if isinstance(look, ImageStats)}
    problems = [
        Problem(kind="unreadable", position=i, detail=look, serious=True)
        for i, look in looks.items()
        if isinstance(look, str)
    ]
    if seen:
        problems += [*_odd_modes(seen), *_odd_sizes(seen), *_turned(seen)]
        problems += _sets("exact duplicates", _same(seen), samples, parts)
        problems += _sets("near duplicates", _near(seen), samples, parts)
    problems += _sets("torn groups", _torn(samples, parts), samples, parts)
    return Report(
        dataset=dataset, samples=samples, parts=parts, complaints=tuple(complaints), problems=tuple(problems)
    )


def _odd_modes(seen: Mapping[int, ImageStats]) -> Iterator[Problem]:
    """Grey or transparent images among coloured ones: they are converted, but a network may learn the difference."""
    usual = Counter(look.mode for look in seen.values()).most_common(1)[0][0]
    for i, look in seen.items():
        if look.mode != usual:
            yield Problem(kind="odd mode", position=i, detail=f"{look.mode}, most are {usual}")


def _odd_sizes(seen: Mapping[int, ImageStats]) -> Iterator[Problem]:
    (height, width), n = Counter(look.size for look in seen.values()).most_common(1)[0]
    factor, usual = 1.0, "most are"
    if n < USUAL * len(seen):
        height, width = (round(statistics.median(look.size[k] for look in seen.values())) for k in (0, 1))
        factor, usual = FACTOR, "the median is"
    for i, look in seen.items():
        h, w = look.size
        if max(h / height, height / h, w / width, width / w) > factor:
            yield Problem(kind="odd size", position=i, detail=f"{h}x{w}, {usual} {height}x{width}")


def _turned(seen: Mapping[int, ImageStats]) -> Iterator[Problem]:
    for i, look in seen.items():
        if not look.upright:
            yield Problem(
                kind="on its side", position=i, detail="its EXIF tag turns it upright when it is read"
            )


def _same(seen: Mapping[int, ImageStats]) -> list[list[int]]:
    positions = list(seen)
    return [[positions[j] for j in each] for each in duplicates.same([seen[i].digest for i in positions])]


def _near(seen: Mapping[int, ImageStats]) -> list[list[int]]:
    """Among different pictures (of exact duplicates the first stands for all) that fill a thumbnail."""
    import numpy as np

    first: dict[bytes, int] = {}
    for i, look in seen.items():
        if min(look.size) >= duplicates.SIDE:
            first.setdefault(look.digest, i)
    positions = list(first.values())
    if not positions:
        return []
    found = duplicates.near(np.stack([seen[i].thumbnail for i in positions]))
    return [[positions[j] for j in each] for each in found]


def _torn(samples: Samples, parts: Sequence[str]) -> list[list[int]]:
    return [each for each in duplicates.same(samples.groups or []) if len(_told(parts, each)) > 1]


def _sets(kind: str, sets: list[list[int]], samples: Samples, parts: Sequence[str]) -> Iterator[Problem]:
    """Serious is a set that stands in several parts, or duplicates that bear different labels."""
    for number, positions in enumerate(sets, 1):
        across = _told(parts, positions)
        labels = sorted({samples.classes[samples.labels[i]] for i in positions})
        told = [f"in {' and '.join(across)}"] if across else []
        if contradict := len(labels) > 1 and kind != "torn groups":
            told.append(f"labelled {' and '.join(labels)}")
        for i in positions:
            yield Problem(
                kind=kind,
                position=i,
                detail=", ".join(told),
                set=number,
                serious=len(across) > 1 or contradict,
            )


def _told(parts: Sequence[str], positions: Sequence[int]) -> list[str]:
    there = {parts[i] for i in positions}
    return [part for part in PARTS if part in there]


def verdict(report: Report) -> list[str]:
    """The report in a few lines, the last of them for those who read no other."""
    dataset, samples = report.dataset, report.samples
    there = Counter(report.parts)
    parts = ", ".join(f"{there[p]:,} {p}" for p in PARTS if there[p]) or "no split"
    whose = "" if samples.parts or parts == "no split" else f" (held out by us, validation with seed {SEED})"
    sizes = Counter(samples.classes[label] for label in samples.labels).most_common()
    (large, most), (small, least) = sizes[0], sizes[-1]
    spread = f"{least:,} ({small}) to {most:,} images ({large}), ratio 1:{most / least:.1f}"
    kinds = dict.fromkeys(p.kind for p in report.problems)
    serious = [kind for kind in kinds if any(p.serious for p in report.problems if p.kind == kind)]
    spoils = [*serious, *(["counts"] if report.complaints else [])]
    return [
        f"{dataset.title}: {len(samples):,} images of {len(sizes)} classes; {parts}{whose}",
        f"classes: {spread if least < most else f'{most:,} images each'}",
        *(f"counts: {complaint}" for complaint in report.complaints),
        *(_line(kind, [p for p in report.problems if p.kind == kind], samples) for kind in kinds),
        *(f"caveat: {caveat}" for caveat in dataset.caveats),
        f"verdict: {'look at: ' + ', '.join(spoils) if spoils else 'no serious problems found'}",
    ]


def _line(kind: str, problems: Sequence[Problem], samples: Samples) -> str:
    """How many, how many of them matter, and the first, one that matters where there is one."""
    sets = {p.set for p in problems if p.set}
    matter = {p.set for p in problems if p.set and p.serious}
    first = next((p for p in problems if p.serious), problems[0])
    detail = f" ({first.detail})" if first.detail else ""
    count = f"{len(problems):,} {'images' if len(problems) > 1 else 'image'}"
    if sets:
        count += f" in {len(sets):,} {'sets' if len(sets) > 1 else 'set'}"
        count += f", {len(matter):,} across parts or labels" if matter else ""
    return f"{kind}: {count}; first {samples.names[first.position]}{detail}"


def write(path: Path, report: Report) -> None:
    """A line per problem."""
    samples = report.samples
    with atomic_write(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("problem", "set", "path", "label", "part", "detail"))
        for p in report.problems:
            label = samples.classes[samples.labels[p.position]]
            part_of = report.parts[p.position]
            rows.writerow((p.kind, p.set or "", samples.names[p.position], label, part_of, p.detail))
