"""Groupings of images that their names, folders and cameras suggest."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...spec import Samples
from .capture import Capture, captures

RUNS = (5, 10, 20, 50)  # consecutive numbers
GAPS = {10: "10 seconds", 300: "5 minutes", 3600: "an hour"}  # between images of one group
MAX_TOKENS = 3  # of a name's prefix, and the words after the first
MAX_DEPTH = 3  # of sub-folders
LAST_NUMBER = re.compile(r"(.*\D|)(\d+)\D*", re.DOTALL)
LAST_WORD = re.compile(r"[^\W\d_]*[\W_]*$")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A grouping of N images."""

    kind: str  # "prefix", "word", "folder", "time" or "run"
    text: str  # completes "images ...": "that share the prefix clip000_"
    groups: tuple[str, ...]  # (N,) the group of each image


def candidates(samples: Samples) -> list[Candidate]:
    """All groupings with more than one group and fewer groups than images, the most specific kinds first.

    Of equal partitions only the first is returned.
    """
    names = _names_below_classes(samples)
    folders = [os.path.dirname(name) for name in samples.names]
    images = samples.images if isinstance(samples.images, list) else []
    return _distinct(
        (
            *_folders(names, samples.names),
            *_prefixes(names, samples.names),
            *_middle_words(names, samples),
            *_bursts(captures(images)),
            *_runs(folders, names),
        )
    )


def folder_candidates(samples: Samples) -> list[Candidate]:
    """Those of `candidates` that are sub-folders; no image is opened."""
    return _distinct(_folders(_names_below_classes(samples), samples.names))


def _distinct(groupings: Iterable[Candidate]) -> list[Candidate]:
    partitions: dict[tuple[int, ...], Candidate] = {}
    for candidate in groupings:
        partition = _partition(candidate.groups)
        if 1 < len(set(partition)) < len(partition):
            partitions.setdefault(partition, candidate)
    return list(partitions.values())


def natural_order(names: Sequence[str]) -> list[int]:
    """Positions sorted by name, numbers by value: img2 before img10."""

    def key(i: int) -> list:
        return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", names[i])]

    return sorted(range(len(names)), key=key)


def _names_below_classes(samples: Samples) -> list[str]:
    labelled = zip(samples.names, samples.labels, strict=True)
    return [_below_class(name, samples.classes[label]) for name, label in labelled]


def _partition(groups: Sequence[str]) -> tuple[int, ...]:
    """The groups numbered in the order of their first image."""
    numbers: dict[str, int] = {}
    return tuple(numbers.setdefault(group, len(numbers)) for group in groups)


def _below_class(name: str, label: str) -> str:
    """`p1/a.jpg` of `train/cat/p1/a.jpg`: a patient or a clip may have images of several classes."""
    _, slash, rest = f"/{name}".partition(f"/{label}/")
    return rest if slash else name


def _folders(names: Sequence[str], unique: Sequence[str]) -> Iterator[Candidate]:
    """Sub-folders of each depth; an image in none is a group of its own."""
    paths = [name.split("/")[:-1] for name in names]
    for depth in range(1, min(MAX_DEPTH, max(map(len, paths), default=0)) + 1):
        groups = tuple("/".join(path[:depth]) or name for path, name in zip(paths, unique, strict=True))
        first = next("/".join(path[:depth]) for path in paths if path)
        yield Candidate(kind="folder", text=f"in the same sub-folder, such as {first}/,", groups=groups)


def _prefixes(names: Sequence[str], unique: Sequence[str]) -> Iterator[Candidate]:
    """The text before the last number, then the first words of the file name."""
    numbered = [LAST_NUMBER.fullmatch(os.path.splitext(name)[0]) for name in names]
    if all(numbered):
        yield _prefix([match[1] or name for match, name in zip(numbered, unique, strict=True)])
    for n in range(1, MAX_TOKENS + 1):
        tokens = [_first_tokens(name, n) for name in names]
        yield _prefix([found or name for found, name in zip(tokens, unique, strict=True)])


def _prefix(groups: list[str]) -> Candidate:
    largest = Counter(groups).most_common(1)[0][0]
    return Candidate(kind="prefix", text=f"that share the prefix {largest}", groups=tuple(groups))


def _first_tokens(name: str, n: int) -> str | None:
    """None if the file name has no more words than that."""
    folder, stem = os.path.split(os.path.splitext(name)[0])
    ends = [match.end() for match in re.finditer(r"[\W_]+", stem)]
    return f"{folder}/{stem[: ends[n - 1]]}".lstrip("/") if len(ends) >= n else None


def _middle_words(names: Sequence[str], samples: Samples) -> Iterator[Candidate]:
    """The second, third ... word of the file name, if images of a class share it: a patient after the number of a scan.

    A number at the end counts the images, and is no such word.
    """
    stems = [re.sub(r"[\W_]+\d+$", "", os.path.basename(os.path.splitext(name)[0])) for name in names]
    tokens = [re.split(r"[\W_]+", stem) for stem in stems]
    for k in range(1, MAX_TOKENS + 1):
        middle = [each[k] if len(each) > k else None for each in tokens]
        shared = Counter(pair for pair in zip(samples.labels, middle, strict=True) if pair[1])
        if shared and max(shared.values()) > 1:
            groups = tuple(word or name for word, name in zip(middle, samples.names, strict=True))
            yield Candidate(kind="word", text=f"that share the word {shared.most_common(1)[0][0][1]}", groups=groups)


def _bursts(images: Sequence[Capture | None]) -> Iterator[Candidate]:
    """Images of one camera, each at most a gap after the one before it."""
    dated = sorted((capture, i) for i, capture in enumerate(images) if capture)
    if 2 * len(dated) < len(images) or not dated:
        return
    for gap, text in GAPS.items():
        groups = [str(i) for i in range(len(images))]
        for (before, i), (after, j) in pairwise(dated):
            if after.camera == before.camera and after.seconds - before.seconds <= gap:
                groups[j] = groups[i]
        yield Candidate(kind="time", text=f"taken within {text} of each other", groups=tuple(groups))


def _runs(folders: Sequence[str], names: Sequence[str]) -> Iterator[Candidate]:
    """Consecutive numbers of one folder and one series, which is the text before the number, or its last word."""
    series: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    stems = [LAST_NUMBER.fullmatch(os.path.splitext(os.path.basename(name))[0]) for name in names]
    if not all(stems):
        return
    prefixes = [stem[1] for stem in stems]
    if len(set(zip(folders, prefixes, strict=True))) > len(prefixes) / 2:
        prefixes = [LAST_WORD.search(prefix)[0] for prefix in prefixes]
    for i, (folder, prefix) in enumerate(zip(folders, prefixes, strict=True)):
        series[folder, prefix].append((int(stems[i][2]), i))
    for length in RUNS:
        groups = [""] * len(names)
        for (folder, prefix), members in series.items():
            for rank, (_, i) in enumerate(sorted(members)):
                groups[i] = f"{folder}/{prefix}#{rank // length}"
        yield Candidate(kind="run", text=f"in runs of {length} consecutive numbers", groups=tuple(groups))
