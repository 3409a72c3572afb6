"""Check that the counts are the data sheet's and that the parts have images of all classes."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ...errors import UserError
from ...spec import PARTS, Dataset, Holdout, Samples


def check_counts(dataset: Dataset, samples: Samples) -> None:
    """Compare the counts with the data sheet's: of every official part, or in all.

    Raises:
        UserError: the number of classes or images differs from the data sheet's.
    """
    if isinstance(dataset.classes, int) and len(samples.classes) != dataset.classes:
        raise UserError(
            f"{dataset.title}: found {len(samples.classes)} classes (expected {dataset.classes}); "
            f"complete the data, or pass --subset to use what is there"
        )
    if dataset.counts is None:
        return
    if isinstance(dataset.split, Holdout):  # with groups or folds the parts vary in size
        found, expected = {"in all": len(samples)}, {"in all": sum(dataset.counts.values())}
    else:
        found, expected = Counter(samples.parts), dataset.counts
    if wrong := [
        f"{found.get(p, 0):,} images {p} (expected {n:,})" for p, n in expected.items() if found.get(p, 0) != n
    ]:
        raise UserError(
            f"{dataset.title}: found {', '.join(wrong)}; complete the data, or pass --subset to use what is there"
        )


def check_classes(samples: Samples, members: Mapping[str, Sequence[int]], required: Sequence[str]) -> tuple[str, ...]:
    """A caveat per part that lacks classes; `required` parts must have all.

    Raises:
        UserError: a required part lacks a class; names the first one.
    """
    caveats = []
    for part, positions in members.items():
        lacking = sorted(set(range(len(samples.classes))) - {samples.labels[i] for i in positions})
        if not lacking:
            continue
        if part in required or not positions:
            raise UserError(_format_lacking(samples, part, lacking, tuple(dict.fromkeys((*required, part)))))
        counts = ", ".join(f"{_count(samples, members[p], lacking[0]):,} {p}" for p in members)
        first, n = f"{samples.classes[lacking[0]]!r} ({counts})", len(lacking)
        which = f"class {first}" if n == 1 else f"{n} of {len(samples.classes)} classes, such as {first}"
        name = "validation" if part == "val" else part
        caveats.append(f"{name} has no images of {which}: its scores cover the classes that it has")
    return tuple(caveats)


def _count(samples: Samples, positions: Sequence[int], label: int) -> int:
    return sum(samples.labels[i] == label for i in positions)


def _format_lacking(samples: Samples, part: str, lacking: list[int], parts: tuple[str, ...]) -> str:
    """The error for a part that lacks classes, of `parts` that need them; it offers what helps."""
    n = _count(samples, range(len(samples)), lacking[0])
    groups = {g for g, y in zip(samples.groups or (), samples.labels, strict=False) if y == lacking[0]}
    grouped = f", in {len(groups)} group{'s' * (len(groups) > 1)}" if groups else ""
    more = f" and {len(lacking) - 1} more classes" if len(lacking) > 1 else ""
    rare = samples.layout and not samples.parts
    option = "pass --min_images 3 to leave rare classes out" if rare else "drop the class"
    advice = f"add images, or {option}"
    if 0 < len(groups) < len(PARTS) <= n:
        advice = "add groups, or use smaller ones (--group_by)"
    return (
        f"class {samples.classes[lacking[0]]!r} has no image in {part} ({n} in all{grouped}){more}: "
        f"{' and '.join(parts)} {'each need' if len(parts) > 1 else 'needs'} one, so {advice}"
    )
