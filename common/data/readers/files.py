"""Finding what belongs to a dataset on the disk, and saying in one line what is not there."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ...errors import UserError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".dcm"}
)


def locate(root: Path, score: Callable[[Path], int], depth: int = 4) -> Path | None:
    """The folder at or below `root` with the highest positive score; archives unpack to various depths."""
    best, best_score, level = None, 0, [root]
    for _ in range(depth + 1):
        for folder in level:
            if (found := score(folder)) > best_score:
                best, best_score = folder, found
        if best:
            return best
        level = [Path(entry) for folder in level for entry in subfolders(folder)]
    return best


def folder_with(root: Path, files: Sequence[str], expected: str) -> Path:
    """The folder at or below `root` that holds all of `files`.

    Raises:
        UserError: there is none; tells the `expected` tree.
    """
    base = locate(root, lambda folder: all((folder / file).is_file() for file in files))
    if base is None:
        raise UserError(f"no {' and '.join(files)} in {root}: expected {expected}")
    return base


def subfolders(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if e.is_dir() and not e.name.startswith(".")), key=lambda e: e.name)


def is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def image_files(folder: str | Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, posix name relative to `folder`) of every image below it, in no particular order.

    Raises:
        UserError: a name that is no text, so that no list could tell it.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_image(entry.name) and not entry.is_dir():
                name = prefix + entry.name
                if not name.isascii() and name.encode("utf-8", "ignore").decode() != name:
                    raise UserError(f"the name of an image is not valid UTF-8: {entry.path!r}; rename it")
                yield entry.path, name
            elif entry.is_dir() and not entry.name.startswith("."):
                yield from image_files(entry.path, f"{prefix}{entry.name}/")


def listed_images(base: Path, names: Sequence[str]) -> list[str]:
    """The paths of images that a list names.

    Raises:
        UserError: some are not there, some are there twice, or the list is empty.
    """
    if not names:
        raise UserError(f"the lists in {base} name no image: fetch them again")
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise UserError(f"the lists in {base} name {name} {times} times: fetch them again")
    paths = [str(base / name) for name in names]
    if missing := [name for name, path in zip(names, paths, strict=True) if not os.path.isfile(path)]:
        raise UserError(f"{len(missing)} of {len(names)} images missing in {base}, the first is {missing[0]}")
    return paths


def lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        return [line.strip() for line in path.read_text("utf-8").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} ({error}): fetch it again") from None


def check_labels(labels: Sequence[int], classes: Sequence[str], base: Path) -> None:
    """Raises: UserError: a label that is no position in `classes`."""
    if outside := [label for label in labels if not 0 <= label < len(classes)]:
        raise UserError(f"labels outside the sheet: {outside[0]} in {base}, expected 0..{len(classes) - 1}")
