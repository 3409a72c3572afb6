"""Check that the counts are the data sheet's and that the parts have images of all classes."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ...errors import UserError
from ...spec import Dataset, Holdout, Samples


def check_counts(dataset: Dataset, samples: Samples) -> None:
    """Compare the counts with the data sheet's: of every official part, or in all.

    Raises:
        UserError: another number of classes or images than in the data sheet.
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
        f"{found.get(p, 0):,} images {p} (expected {n:,})"
        for p, n in expected.items()
        if found.get(p, 0) != n
    ]:
        raise UserError(
            f"{dataset.title}: found {', '.join(wrong)}; complete the data, or pass --subset to use what is there"
        )


def check_classes(
    samples: Samples, members: Mapping[str, Sequence[int]], required: Sequence[str]
) -> tuple[str, ...]:
    """A caveat per part that has no images of some classes, none of them being `required` to have all.

    Raises:
        UserError: a required part lacks a class; names the first one.
    """
    caveats = []
    for part, positions in members.items():
        lacking = sorted(set(range(len(samples.classes))) - {samples.labels[i] for i in positions})
        if not lacking:
            continue
        counts = {p: sum(samples.labels[i] == lacking[0] for i in members[p]) for p in members}
        has = ", ".join(f"{n:,} {p}" for p, n in counts.items())
        if part in required or not positions:
            raise UserError(_lacks(samples, part, lacking, sum(counts.values()), required))
        name, n = ("validation" if part == "val" else part), len(lacking)
        which = (
            f"class {samples.classes[lacking[0]]!r} ({has})"
            if n == 1
            else f"{n} of {len(samples.classes)} classes, such as {samples.classes[lacking[0]]!r} ({has})"
        )
        caveats.append(f"{name} has no images of {which}: its scores are over the classes that it has")
    return tuple(caveats)


def _lacks(samples: Samples, part: str, lacking: list[int], count: int, required: Sequence[str]) -> str:
    first, more = (
        samples.classes[lacking[0]],
        f" and {len(lacking) - 1} more classes" if len(lacking) > 1 else "",
    )
    grouped = ", whole groups" if samples.groups else ""
    rare = samples.layout and not samples.parts
    option = ", or pass --min_images 3 to leave rare classes out" if rare else ", or drop the class"
    return (
        f"class {first!r} has no image in {part} ({count} in all{grouped}){more}: "
        f"{' and '.join(required)} each need one, so add images{option}"
    )
