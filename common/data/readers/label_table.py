"""Find the images that a table of labels names, with their labels, parts and groups."""

import os
import posixpath
from collections.abc import Sequence
from pathlib import Path

from ...errors import UserError
from ...spec import PARTS
from .class_layout import LabelledImages
from .part_names import parts_of
from .scan import Tree
from .suffixes import suffix_of
from .table_rows import TableColumns, read_rows

METADATA = ("metadata.csv", "metadata.jsonl")  # of Hugging Face's imagefolder


def find_tables(tree: Tree, path: Path | None) -> list[str]:
    """The tables as names relative to the tree: the one at `path`, or, without `path`, Hugging Face's metadata.

    A table that is not at `path` is searched in the data folder, then in the folders of the parts.

    Raises:
        UserError: there is none.
    """
    beside_images = [name for name in tree.others if name.count("/") <= 1]
    if path is None:
        return [name for name in beside_images if posixpath.basename(name) in METADATA]
    if os.path.isfile(path):
        return [posixpath.relpath(os.path.realpath(path), os.path.realpath(tree.root))]
    if os.path.isfile(tree.path(path.as_posix())):
        return [path.as_posix()]
    tables = [name for name in beside_images if posixpath.basename(name) == path.name]
    tables = [name for name in tables if "/" not in name] or tables
    folders = {posixpath.dirname(name) for name in tables}
    if not tables or (len(tables) > 1 and len(parts_of(folders)) < len(tables)):
        raise UserError(f"no table of labels {path}: expected a CSV, TSV or JSON lines file, here or in {tree.root}")
    return tables


def read_tables(tree: Tree, tables: Sequence[str], columns: TableColumns) -> LabelledImages:
    """The images of the tables with their labels; each of several tables belongs to the part of its folder.

    Raises:
        UserError: a table cannot be read, lacks a column, contradicts itself, or none of its images exists.
    """
    find = _Finder(tree)
    rows_of: dict[str, tuple[str, str, str]] = {}  # {image: (label, part, group)}
    missing: list[str] = []
    unlabelled: set[str] = set()
    for table in tables:
        folder = posixpath.dirname(table)
        rows = read_rows(Path(tree.path(table)), table, columns)
        for row, name in zip(rows, find([row.image for row in rows], folder), strict=True):
            if name is None:
                missing.append(row.image)
            elif not row.label:
                unlabelled.add(name)
            else:
                values = (row.label, folder if len(tables) > 1 else row.split, row.group)
                _check_equal(table, name, rows_of.setdefault(name, values), values)
    if not rows_of:
        reason = f"is in {tree.root}, the first is {missing[0]!r}" if missing else "has a label"
        raise UserError(f"none of the images in {', '.join(tables)} {reason}")
    source = posixpath.basename(tables[0])
    _count_skipped(tree, tables, source, len(rows_of), len(unlabelled - rows_of.keys()))
    names = sorted(rows_of)
    if any(part for _, part, _ in rows_of.values()):
        names = [name for name in names if rows_of[name][1]]
        tree.skipped[f"without a split in {source}"] += len(rows_of) - len(names)
    labels, splits, groups = ([rows_of[name][column] for name in names] for column in range(3))
    parts, part_names, notes = _parts(splits, source)
    return LabelledImages(
        names=names,
        labels=labels,
        parts=parts,
        part_names=part_names,
        source=source,
        notes=notes,
        groups=[group or name for group, name in zip(groups, names, strict=True)] if any(groups) else None,
        missing=tuple(missing),
    )


def _check_equal(table: str, name: str, first: tuple[str, str, str], again: tuple[str, str, str]) -> None:
    """Raises: UserError: two rows of an image differ."""
    for what, one, two in zip(("labels", "splits", "groups"), first, again, strict=True):
        if one != two:
            raise UserError(f"{table}: {name} has two {what} ({one!r} and {two!r}): expected one per image")


def _count_skipped(tree: Tree, tables: Sequence[str], source: str, n_found: int, n_unlabelled: int) -> None:
    """The tables are read; images without a row, or without a label in it, are not."""
    for table in tables:
        if table in tree.others:
            suffix = suffix_of(posixpath.basename(table)) or "no suffix"
            tree.skipped[suffix] -= 1
    tree.skipped[f"not in {source}"] += len(tree.names()) - n_found - n_unlabelled
    tree.skipped[f"without a label in {source}"] += n_unlabelled


def _parts(values: list[str], source: str) -> tuple[list[str] | None, dict[str, str], tuple[str, ...]]:
    """The part of every image from the values of the split column; validation serves as test if there is no test."""
    known = parts_of({value for value in values if value})
    if unknown := sorted({value for value in values if value} - known.keys()):
        raise UserError(
            f"{source}: the split {unknown[0]!r} is not a part: expected train, val and test; "
            "--split_column names another column"
        )
    if not known or set(known.values()) == {"train"}:
        return None, {}, ()
    if "train" not in known.values():
        raise UserError(f"{source}: no image has the split train, there are {', '.join(known)}")
    notes: tuple[str, ...] = ()
    if "test" not in known.values():
        known = {value: "test" if part == "val" else part for value, part in known.items()}
        notes = ("no test set: validation is held out as test, validation is carved from train",)
    names: dict[str, str] = {}
    for part in PARTS:
        if same := [value for value in known if known[value] == part]:
            names[part] = "+".join(same)
    return [known.get(value, "") for value in values], names, notes


class _Finder:
    """Finds the images of paths in a table, relative to the table or the data folder, with or without suffix."""

    def __init__(self, tree: Tree):
        names = tree.names()
        self.names = set(names)
        self.by_end: dict[str, list[str]] = {}  # {file name, with and without suffix: images}
        for name in names:
            end = _lower_suffix(posixpath.basename(name))
            self.by_end.setdefault(end, []).append(name)
            self.by_end.setdefault(end[: len(end) - len(suffix_of(end))], []).append(name)

    def __call__(self, values: Sequence[str], folder: str) -> list[str | None]:
        """The image of every path, or None. The folders of another machine do not matter if no path fits."""
        images = [self._find(value, folder) for value in values]
        return images if any(images) else [self._find(value, folder, anywhere=True) for value in values]

    def _find(self, value: str, folder: str, anywhere: bool = False) -> str | None:
        """The image whose end, or else its file name, a path shares with it alone.

        Raises:
            UserError: several images share it.
        """
        value = value.replace("\\", "/")
        for base in (folder, ""):
            if (name := posixpath.normpath(posixpath.join(base, value))) in self.names:
                return name
        *above, end = [piece for piece in value.split("/") if piece not in ("", ".", "..")] or [""]
        scores = {name: _shared_tail(name, above, folder) for name in self.by_end.get(_lower_suffix(end), ())}
        if not anywhere:
            scores = {
                name: (n, below)
                for name, (n, below) in scores.items()
                if n >= min(len(above), name.count("/")) and (n or below or not folder)
            }
        best = [name for name, score in scores.items() if score == max(scores.values())]
        if len(best) > 1:
            raise UserError(f"{value!r} in the table may be {best[0]} or {best[1]}: write its path")
        return best[0] if best else None


def _lower_suffix(name: str) -> str:
    suffix = suffix_of(name)
    return f"{name[: len(name) - len(suffix)]}{suffix}"


def _shared_tail(name: str, above: Sequence[str], folder: str) -> tuple[int, bool]:
    """The number of parent folders that an image shares with a path, and whether it is below the table's folder."""
    folders = name.split("/")[:-1]
    n = 0
    while n < min(len(folders), len(above)) and folders[-1 - n] == above[-1 - n]:
        n += 1
    return n, bool(folder) and name.startswith(f"{folder}/")
