"""Find class folders and parts in a user's tree of images."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UserError
from ...spec import PARTS
from .layout import FULL
from .part_names import part_of, parts_of
from .scan import Tree
from .suffixes import suffix_of
from .table_rows import JSON_LINES
from .unpacked import data_files

TABLES = (".csv", ".tsv", *JSON_LINES)
LOOSE, UNLABELLED = "outside the class folders", "without class folder"
SOURCE = "class folders"


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """The images of a tree that have a label, in the order of their names."""

    names: list[str]
    labels: list[str]
    parts: list[str] | None
    part_names: Mapping[str, str]  # {"val": "valid/"}
    source: str = SOURCE
    notes: tuple[str, ...] = ()
    groups: list[str] | None = None
    missing: tuple[str, ...] = ()


def find_classes(tree: Tree) -> LabelledImages:
    """`<class>/*`, `<part>/<class>/*` or `<class>/<part>/*`, also in a single folder below the root.

    Raises:
        UserError: there are no class folders, or it is not clear what they are.
    """
    if len(tree.images) <= 1 and (hint := data_files(tree.others, bool(tree.images))):
        raise UserError(f"no class folders in {_at(tree, '')}: {hint}")
    base, notes = "", []
    while True:
        level = _Level(tree, base)
        if len(level.inside) != 1 or level.folders != set(level.inside) or level.loose:
            break
        (only,) = level.inside
        if not level.nested(only):
            raise UserError(
                f"a single class in {_at(tree, base)} ({only}): expected two class folders or more, "
                f"or a table of labels ({_tables(tree)})"
            )
        base = f"{base}{only}/"
        notes = [f"all in {base}"]
    if not level.folders:
        raise UserError(_no_classes(tree, base, level))
    parts = parts_of(level.folders)
    if parts and len(parts) < len(level.folders):
        notes += _mixed(tree, base, level, parts)
        parts = {}
    level.check_filled()
    if parts:
        return _part_folders(tree, base, level, parts, notes)
    tree.skipped[LOOSE] += len(level.loose)
    return _class_folders(level, base, notes)


class _Level:
    """The folders directly below `base`, and the folders in them that contain images."""

    def __init__(self, tree: Tree, base: str):
        self.tree, self.base, start = tree, base, len(base)
        self.folders = {f[start:] for f in tree.folders if f.startswith(base) and "/" not in f[start:]}
        self.inside: dict[str, list[str]] = {}  # {folder: the folders at and below it that hold images}
        for folder in tree.images:
            if folder.startswith(base) and len(folder) > start:
                self.inside.setdefault(folder[start:].partition("/")[0], []).append(folder)
        self.loose = tree.images.get(base.rstrip("/"), [])

    def subfolders(self, folder: str) -> set[str]:
        """The names one level below a folder that hold images; "" stands for the folder itself."""
        start = len(self.base) + len(folder) + 1
        return {inner[start:].partition("/")[0] for inner in self.inside.get(folder, ())}

    def nested(self, folder: str) -> bool:
        return "" not in self.subfolders(folder)

    def check_filled(self) -> None:
        if empty := sorted(self.folders - self.inside.keys()):
            path = self.tree.path(self.base + empty[0])
            raise UserError(f"class folder without images: {path} (remove it, or put its images in)")

    def labelled(self) -> list[tuple[str, str]]:
        """(folder that holds images, its class), the class folders being those of this level."""
        return [(folder, label) for label, folders in self.inside.items() for folder in folders]


def _labelled_images(tree: Tree, rows: list[tuple[str, str, str]], **more: object) -> LabelledImages:
    """All images of (folder, label, part), in the order of their names."""
    columns = [(name, label, part) for folder, label, part in rows for name in tree.images[folder]]
    columns.sort()
    names, labels, parts = (list(column) for column in zip(*columns, strict=True))
    return LabelledImages(names=names, labels=labels, parts=parts if any(parts) else None, **more)


def _part_folders(tree: Tree, base: str, level: _Level, parts: Mapping[str, str], notes: list[str]) -> LabelledImages:
    """`<part>/<class>/*`. A part without class folders is unlabelled and left out."""
    levels = {folder: _part_level(tree, base, folder) for folder in parts}
    tree.skipped[LOOSE] += len(level.loose)
    for folder, inner in levels.items():
        inner.check_filled()
        tree.skipped[f"in {folder}/ {UNLABELLED}"] += len(inner.loose)
    labelled = [folder for folder in parts if levels[folder].inside]
    if not labelled:
        raise UserError(
            f"{_at(tree, base)} holds {_listed(parts)}, named like parts, but no class folders in them: "
            f"put the images of each class into a folder, or pass a table of labels ({_tables(tree)})"
        )
    of_part: dict[str, str] = {}
    for folder in labelled:
        if (part := parts[folder]) in of_part:
            raise UserError(
                f"{_at(tree, base)}: {of_part[part]}/ and {folder}/ are both {FULL[part]}: merge or rename one"
            )
        of_part[part] = folder
    if "train" not in of_part:
        raise UserError(f"{_at(tree, base)} holds {_listed(labelled)} but no train/: expected train/ and test/ or val/")
    if list(of_part) == ["train"]:
        only = levels[of_part["train"]]
        return _class_folders(only, only.base, [f"all in {only.base}"])
    if "test" not in of_part:
        folder = of_part.pop("val")
        of_part["test"] = folder
        notes = [*notes, f"no test/: {folder}/ is held out as test, validation is carved from train"]
    rows = [(inner, label, part) for part, folder in of_part.items() for inner, label in levels[folder].labelled()]
    ordered = {part: f"{of_part[part]}/" for part in PARTS if part in of_part}
    return _labelled_images(tree, rows, part_names=ordered, notes=tuple(notes))


def _part_level(tree: Tree, base: str, folder: str) -> _Level:
    """The level of a part's class folders: archives often hold `train/train/<class>/`."""
    level = _Level(tree, f"{base}{folder}/")
    if len(level.folders) != 1 or level.loose:
        return level
    (inner,) = level.folders
    same = inner == folder or (part_of(inner) and part_of(inner) == part_of(folder))
    return _part_level(tree, level.base, inner) if same and level.nested(inner) else level


def _class_folders(level: _Level, base: str, notes: list[str]) -> LabelledImages:
    """`<class>/*`, or `<class>/<part>/*` if every class contains only folders named like parts."""
    inner = {label: parts_of(level.subfolders(label)) for label in level.inside}
    if all(len(inner[label]) == len(level.subfolders(label)) for label in inner):
        start = len(base)
        rows = [
            (folder, label, inner[label][folder[start + len(label) + 1 :].partition("/")[0]])
            for folder, label in level.labelled()
        ]
        parts = {part for _, _, part in rows}
        if parts == {"train", "val"}:
            rows = [(folder, label, "test" if part == "val" else part) for folder, label, part in rows]
            parts = {"train", "test"}
            notes = [*notes, "no test/: validation is held out as test, validation is carved from train"]
        if {"train", "test"} <= parts:
            part_names = {part: f"{part}/" for part in PARTS if part in parts}
            notes = [*notes, "parts are the folders below each class"]
            return _labelled_images(level.tree, rows, part_names=part_names, notes=tuple(notes))
    elif deep := [label for label in level.inside if level.nested(label)]:
        first = f"{deep[0]}/{min(level.subfolders(deep[0]))}/"
        notes = [*notes, f"classes are the upper folders, not those below them ({first} ...)"]
    rows = [(folder, label, "") for folder, label in level.labelled()]
    return _labelled_images(level.tree, rows, part_names={}, notes=tuple(notes))


def _mixed(tree: Tree, base: str, level: _Level, parts: Mapping[str, str]) -> list[str]:
    """Notes if the folders named like parts are classes: a single one, with images directly in it.

    Raises:
        UserError: they are parts, mixed with other folders.
    """
    if len(parts) == 1 and not any(level.nested(folder) for folder in level.inside):
        return [f"{next(iter(parts))}/ is a class like the others, not a part"]
    others = sorted(level.folders - parts.keys())
    more = ", ..." if len(others) > 3 else ""
    raise UserError(
        f"{_at(tree, base)} mixes {_listed(parts)} with other folders ({', '.join(others[:3])}{more}): move these away"
    )


def _no_classes(tree: Tree, base: str, level: _Level) -> str:
    images = f", but {len(level.loose):,} images" * bool(level.loose)
    table = f", or a table of labels ({_tables(tree)})" * bool(level.loose)
    return f"no class folders in {_at(tree, base)}{images}: expected one folder of images per class{table}"


def _tables(tree: Tree) -> str:
    """The option for a table, with the name of the first file that may be one."""
    tables = [posixpath.basename(name) for name in tree.others if suffix_of(name) in TABLES]
    return f"--labels {tables[0] if tables else 'FILE'}"


def _listed(folders: Mapping[str, object]) -> str:
    return " and ".join(f"{folder}/" for folder in folders)


def _at(tree: Tree, base: str) -> str:
    return tree.path(base).rstrip("/")
