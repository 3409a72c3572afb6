"""Find the folders, files and images of a dataset, with one-line errors for what is missing."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from ...errors import UserError
from ...spec import Samples
from .scan import leftover, scan
from .suffixes import image_suffixes, suffix_of


def locate(root: Path, score: Callable[[Path], int], depth: int = 4) -> Path | None:
    """The folder at or below `root` with the highest positive score: archives unpack to various depths."""
    best, best_score, level = None, 0, [root]
    for _ in range(depth + 1):
        for folder in level:
            if (value := score(folder)) > best_score:
                best, best_score = folder, value
        if best:
            return best
        level = [Path(entry) for folder in level for entry in subfolders(folder)]
    return best


def folder_with(root: Path, files: Sequence[str], expected: str) -> Path:
    """The folder at or below `root` that holds all of `files`.

    Raises:
        UserError: there is none; names the `expected` layout.
    """
    base = locate(root, lambda folder: all((folder / file).is_file() for file in files))
    if base is None:
        raise UserError(f"no {' and '.join(files)} in {root}: expected {expected}")
    return base


def subfolders(folder: Path) -> list[os.DirEntry]:
    """Sorted by name, without hidden and system folders."""
    with os.scandir(folder) as entries:
        folders = [entry for entry in entries if entry.is_dir() and not leftover(entry.name)]
    return sorted(folders, key=lambda entry: entry.name)


def is_image(name: str) -> bool:
    return not name.startswith(".") and suffix_of(name) in image_suffixes()


def image_files(folder: str | Path) -> list[tuple[str, str]]:
    """(path, posix name relative to `folder`) of every image below it, sorted by name.

    Raises:
        UserError: a name that is not valid UTF-8, or a folder that cannot be read.
    """
    tree = scan(folder)
    return [(tree.path(name), name) for name in tree.names()]


def listed_samples(
    base: Path, names: Sequence[str], labels: Sequence[int], classes: tuple[str, ...], parts: Sequence[str] | None
) -> Samples:
    """The samples of a list of images below `base`; missing ones are left out and recorded.

    Raises:
        UserError: the list is empty, names an image twice, or all of its images are missing.
    """
    if not names:
        raise UserError(f"the lists in {base} name no image: fetch them again")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UserError(f"the lists in {base} name {name} {times} times: fetch them again")
    positions = [i for i, name in enumerate(names) if os.path.isfile(base / name)]
    missing = tuple(sorted(set(names) - {names[i] for i in positions}))
    if not positions:
        raise UserError(f"{len(names)} of {len(names)} images missing in {base}, the first is {missing[0]}")
    return Samples(
        images=[str(base / names[i]) for i in positions],
        names=[names[i] for i in positions],
        labels=[labels[i] for i in positions],
        classes=classes,
        parts=parts and [parts[i] for i in positions],
        missing=missing,
    )


def check_missing(samples: Samples, folder: Path) -> None:
    """Raises: UserError: listed images are missing."""
    if n := len(samples.missing):
        raise UserError(
            f"{n} of {len(samples) + n} images missing in {folder}, the first is {samples.missing[0]}; "
            "complete the data, or pass --subset to leave them out"
        )


def read_lines(path: Path) -> list[str]:
    """The non-empty lines of a text file."""
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} ({error}): fetch it again") from None


def check_labels(labels: Sequence[int], classes: Sequence[str], base: Path) -> None:
    """Raises: UserError: a label that is not a position in `classes`."""
    if outside := [label for label in labels if not 0 <= label < len(classes)]:
        raise UserError(f"labels outside the data sheet: {outside[0]} in {base}, expected 0..{len(classes) - 1}")
