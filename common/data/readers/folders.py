"""Read the class folders of data sheets, alone or below one folder per part."""

import os
from collections.abc import Mapping
from pathlib import Path

from ...errors import UserError
from ...spec import Classes, Reader, Samples
from .files import image_files, is_image, locate, subfolders


def class_folders(root: Path, classes: Classes) -> Samples:
    """`<class>/*`, images at any depth below the class folder.

    Searches below `root` for the folder that contains the `classes`; if only their number is known, for the folder with
    exactly that many folders of images, or else the most.
    """
    base = _folder_of(root, classes)
    if base is None:
        raise UserError(f"no class folder found in {root}: expected {_expected(classes)}")
    return _read(base, {"": None}, classes)


def part_folders(**folders: str) -> Reader:
    """A reader of `<folder>/<class>/*` per part: `part_folders(train="train", test="val")`."""

    def read(root: Path, classes: Classes) -> Samples:
        base = locate(root, lambda folder: all((folder / name).is_dir() for name in folders.values()))
        if base is None:
            tree = ",".join(folders.values())
            raise UserError(f"no {{{tree}}}/ in {root}: expected {{{tree}}}/<class>/, {_expected(classes)}")
        return _read(base, {folder: part for part, folder in folders.items()}, classes)

    return read


def _read(base: Path, folders: Mapping[str, str | None], classes: Classes) -> Samples:
    """`<folder>/<class>/*` for {folder: part}; {"": None} stands for `base` itself, without parts."""
    rows: list[tuple[str, str, str, str | None]] = []  # (name, path, class, part)
    for folder, part in folders.items():
        for entry in subfolders(base / folder):
            prefix = f"{folder}/{entry.name}/".lstrip("/")
            images = image_files(entry.path)
            if not images:
                raise UserError(f"class folder without images: {entry.path} (remove it, or put its images in)")
            rows += [(prefix + name, path, entry.name, part) for path, name in images]
    if not rows:
        raise UserError(f"no class folders in {base}: expected one folder of images per class")
    rows.sort(key=lambda row: row[0])
    names = classes if isinstance(classes, tuple) else tuple(sorted({row[2] for row in rows}))
    index = {name: i for i, name in enumerate(names)}
    if unknown := sorted({row[2] for row in rows} - index.keys()):
        raise UserError(
            f"labels outside the data sheet: class folder {unknown[0]!r} in {base} is none of the {len(names)} classes"
        )
    return Samples(
        images=[row[1] for row in rows],
        names=[row[0] for row in rows],
        labels=[index[row[2]] for row in rows],
        classes=names,
        parts=None if "" in folders else [row[3] for row in rows],
    )


def _folder_of(root: Path, classes: Classes) -> Path | None:
    def n_classes(folder: Path) -> int:
        return _classes_in(folder, classes)

    if isinstance(classes, int) and (base := locate(root, lambda folder: n_classes(folder) == classes)):
        return base
    return locate(root, n_classes)


def _classes_in(folder: Path, classes: Classes) -> int:
    """The number of class folders: folders with known names, or else folders with images directly in them."""
    if isinstance(classes, tuple):
        return sum(entry.name in classes for entry in subfolders(folder))
    return sum(any(map(is_image, os.listdir(entry))) for entry in subfolders(folder))


def _expected(classes: Classes) -> str:
    if isinstance(classes, tuple):
        return ", ".join(classes[:3]) + (f" ... ({len(classes)} in all)" if len(classes) > 3 else "")
    return f"{classes} folders of images"
