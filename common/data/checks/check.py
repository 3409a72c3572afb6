"""Find problems in a dataset: unreadable or odd images, duplicates, groups in several parts."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...errors import UserError
from ...spec import PARTS, Dataset, Preprocess, Samples
from ..images.value_range import with_value_range
from ..readers.files import check_missing
from ..readers.unpacked import data_folder
from ..splits import requirements, splits
from . import duplicates
from .image_stats import ImageStats, image_stats
from .report import SEED, Problem, Report
from .shortcuts import find_shortcuts, format_baselines

COMMON = 0.9  # fraction of the images above which their most frequent size is the norm
FACTOR = 4  # without a norm, a side this many times longer or shorter than the median is odd


def check(dataset: Dataset, folder: Path, preprocess: Preprocess) -> Report:
    """Read every image, with the value range and the bands of `preprocess`, and collect the findings.

    Raises:
        UserError: there are no images.
    """
    folder = data_folder(folder)
    samples = dataset.load(folder, dataset.classes)
    errors: list[str] = []
    with _collect(errors):
        check_missing(samples, folder)
    with _collect(errors):
        requirements.check_counts(dataset, samples)
    samples = splits.present_classes(samples)
    parts = list(samples.parts or [""] * len(samples))
    caveats: tuple[str, ...] = ()
    with _collect(errors):
        split = splits.split(dataset, samples, SEED)
        caveats = split.caveats
        for part in PARTS:
            for i in getattr(split, part):
                parts[i] = part
    outside_test = [i for i, part in enumerate(parts) if part != "test"]
    preprocess = with_value_range(preprocess, samples.images, outside_test)

    stats = dict(enumerate(image_stats(samples.images, preprocess)))
    readable = {i: image for i, image in stats.items() if isinstance(image, ImageStats)}
    problems = [
        Problem(kind="unreadable", position=i, detail=image, serious=True)
        for i, image in stats.items()
        if isinstance(image, str)
    ]
    baselines, copies = None, []
    if readable:
        problems += _unusual(readable)
        exact, near = _exact(readable), _near(readable)
        problems += _sets("exact duplicates", exact, samples, parts)
        problems += _sets("near duplicates", near, samples, parts)
        copies = _all_copies(exact, near)
        baselines, shortcuts = find_shortcuts(samples, readable)
        problems += shortcuts
    groups = _split_groups(samples, parts)
    torn = [group for group in groups if not any(one.issuperset(group) for one in copies)]
    problems += _sets("torn groups", torn, samples, parts)
    return Report(
        dataset=dataset,
        samples=samples,
        parts=parts,
        preprocess=preprocess,
        baselines=(format_baselines(baselines),) if baselines else (),
        errors=tuple(errors),
        caveats=caveats,
        problems=tuple(problems),
    )


@contextmanager
def _collect(errors: list[str]) -> Iterator[None]:
    """Append the message of a `UserError` in the block to `errors`, and continue after the block."""
    try:
        yield
    except UserError as error:
        errors.append(str(error))


def _unusual(readable: Mapping[int, ImageStats]) -> Iterator[Problem]:
    for find in (_odd_modes, _odd_sizes, _rotated, _several_frames):
        yield from find(readable)


def _odd_modes(readable: Mapping[int, ImageStats]) -> Iterator[Problem]:
    """Grey or transparent images among colour ones: they are converted, but a network may learn the difference."""
    common = Counter(image.mode for image in readable.values()).most_common(1)[0][0]
    for i, image in readable.items():
        if image.mode != common:
            yield Problem(kind="odd mode", position=i, detail=f"{image.mode}, most are {common}")


def _odd_sizes(readable: Mapping[int, ImageStats]) -> Iterator[Problem]:
    (height, width), n = Counter(image.size for image in readable.values()).most_common(1)[0]
    factor, common = 1.0, "most are"
    if n < COMMON * len(readable):
        height, width = (round(statistics.median(image.size[k] for image in readable.values())) for k in (0, 1))
        factor, common = FACTOR, "the median is"
    for i, image in readable.items():
        h, w = image.size
        if max(h / height, height / h, w / width, width / w) > factor:
            yield Problem(kind="odd size", position=i, detail=f"{h}x{w}, {common} {height}x{width}")


def _rotated(readable: Mapping[int, ImageStats]) -> Iterator[Problem]:
    for i, image in readable.items():
        if not image.upright:
            yield Problem(kind="on its side", position=i, detail="turned upright by its EXIF tag when it is read")


def _several_frames(readable: Mapping[int, ImageStats]) -> Iterator[Problem]:
    for i, image in readable.items():
        if image.several_frames:
            yield Problem(kind="several frames", position=i, detail="only the first frame or page is used")


def _exact(readable: Mapping[int, ImageStats]) -> list[list[int]]:
    positions = list(readable)
    return [[positions[j] for j in members] for members in duplicates.exact([readable[i].digest for i in positions])]


def _near(readable: Mapping[int, ImageStats]) -> list[list[int]]:
    """Near duplicates among distinct images that are at least as large as a thumbnail."""
    import numpy as np

    first: dict[bytes, int] = {}
    for i, image in readable.items():
        if min(image.size) >= duplicates.SIDE:
            first.setdefault(image.digest, i)
    positions = list(first.values())
    if not positions:
        return []
    sets = duplicates.near(np.stack([readable[i].thumbnail for i in positions]))
    return [[positions[j] for j in members] for members in sets]


def _all_copies(exact: list[list[int]], near: list[list[int]]) -> list[set[int]]:
    """The sets of exact copies, and those of near ones with the exact copies of each."""
    same = {i: members for members in exact for i in members}
    return [*map(set, exact), *({j for i in members for j in same.get(i, [i])} for members in near)]


def _split_groups(samples: Samples, parts: Sequence[str]) -> list[list[int]]:
    return [members for members in duplicates.exact(samples.groups or []) if len(_parts_of(parts, members)) > 1]


def _sets(kind: str, sets: list[list[int]], samples: Samples, parts: Sequence[str]) -> Iterator[Problem]:
    """One problem per member; serious if the set is in several parts, or if duplicates have different labels."""
    for number, positions in enumerate(sets, 1):
        across = _parts_of(parts, positions)
        labels = sorted({samples.classes[samples.labels[i]] for i in positions})
        details = [f"in {' and '.join(across)}"] if across else []
        if contradict := len(labels) > 1 and kind != "torn groups":
            details.append(f"labelled {' and '.join(labels)}")
        for i in positions:
            yield Problem(
                kind=kind, position=i, detail=", ".join(details), set=number, serious=len(across) > 1 or contradict
            )


def _parts_of(parts: Sequence[str], positions: Sequence[int]) -> list[str]:
    present = {parts[i] for i in positions}
    return [part for part in PARTS if part in present]
