"""Read the user's own images: class folders, parts, or a table of labels."""

import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...spec import Classes, Samples
from .class_layout import SOURCE, LabelledImages, find_classes
from .label_table import find_tables, read_tables
from .layout import Layout
from .part_names import part_of
from .scan import Tree, scan
from .table_rows import TableColumns

RARE = "of rare classes"


def image_folder(
    root: Path,
    classes: Classes = None,
    *,
    labels: Path | None = None,
    columns: TableColumns | None = None,
    min_images: int | None = None,
) -> Samples:
    """`<class>/*`, `<part>/<class>/*`, or with `labels` the images of a table; `layout` records how it was read.

    Classes with fewer than `min_images` images are left out.

    Raises:
        UserError: the layout is not clear, or fewer than two classes are left.
    """
    tree = scan(root)
    tables = find_tables(tree, labels)
    if tables and (labels or _is_flat(tree)):
        labelled = read_tables(tree, tables, columns or TableColumns())
    else:
        if named := [f"--{kind}_column {name}" for kind, name in vars(columns or TableColumns()).items() if name]:
            raise UserError(f"{named[0]}: no table of labels in {root}; pass --labels FILE")
        labelled = find_classes(tree)
    dropped = _rare(labelled.labels, min_images)
    if dropped:
        labelled = _without(labelled, dropped)
        tree.skipped[RARE] += sum(dropped.values())
    names = tuple(sorted(set(labelled.labels), key=_sort_key(labelled)))
    if dropped and not names:
        raise UserError(f"no class has {min_images} images or more: use a smaller --min_images")
    if len(names) < 2:
        raise UserError(f"a single class in {root} ({names[0] if names else 'none'}): expected two classes or more")
    index, folder = {name: i for i, name in enumerate(names)}, tree.path("")
    return Samples(
        images=[folder + name for name in labelled.names],
        names=labelled.names,
        labels=[index[label] for label in labelled.labels],
        classes=names,
        parts=labelled.parts,
        groups=labelled.groups,
        layout=Layout(
            source=labelled.source,
            parts=labelled.part_names,
            notes=(*labelled.notes, *_repeated(tree), *_format_dropped(dropped, min_images)),
            caveats=_format_dropped(dropped, min_images),
            skipped={reason: n for reason, n in tree.skipped.items() if n},
        ),
        missing=labelled.missing,
    )


def _is_flat(tree: Tree) -> bool:
    """Whether there are no class folders: the images are all together, or only in folders named like parts."""
    return len(tree.images) == 1 or all(not folder or part_of(folder) for folder in tree.images)


def _rare(labels: Sequence[str], min_images: int | None) -> dict[str, int]:
    """{class: images} of the classes with fewer than `min_images`."""
    return {label: n for label, n in sorted(Counter(labels).items()) if n < (min_images or 0)}


def _without(labelled: LabelledImages, dropped: Mapping[str, int]) -> LabelledImages:
    positions = [i for i, label in enumerate(labelled.labels) if label not in dropped]

    def select(values: list[str] | None) -> list[str] | None:
        return None if values is None else [values[i] for i in positions]

    columns = {name: select(getattr(labelled, name)) for name in ("names", "labels", "parts", "groups")}
    return replace(labelled, **columns)


def _format_dropped(dropped: Mapping[str, int], min_images: int | None) -> tuple[str, ...]:
    if not dropped:
        return ()
    first = ", ".join(f"{label} ({n})" for label, n in list(dropped.items())[:5])
    more = f" and {len(dropped) - 5} more" if len(dropped) > 5 else ""
    return (f"classes with fewer than {min_images} images left out: {first}{more}",)


def _repeated(tree: Tree) -> list[str]:
    """One line if a file or folder is also in another folder, and so perhaps of another class or part."""
    apart = [(a, b) for a, b in tree.repeated if posixpath.dirname(a) != posixpath.dirname(b)]
    return [f"{a} is the same {'folder' if a.endswith('/') else 'file'} as {b}" for a, b in apart[:1]]


def _sort_key(labelled: LabelledImages) -> Callable[[str], Any]:
    """Numbers in a table by value, everything else as text."""
    numbers = labelled.source != SOURCE and all(map(str.isdecimal, labelled.labels))
    return int if numbers else str
