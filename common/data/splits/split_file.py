"""A split as text: a line `path,label,part` per image, under a header of these words."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...spec import PARTS, Samples, Split

HEADER = ("path", "label", "part")


def write(path: Path, samples: Samples, split: Split) -> None:
    """The images of all parts in the order of the samples, told by name and class."""
    part_of = {i: part for part in PARTS for i in getattr(split, part)}
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows(
            (samples.names[i], samples.classes[samples.labels[i]], part_of[i]) for i in sorted(part_of)
        )


def apply(path: Path, samples: Samples) -> Samples:
    """The samples with the parts that the file tells. Images that it leaves out are in no part.

    Raises:
        UserError: not such a file, or it speaks of other images, classes or parts.
    """
    position = {name: i for i, name in enumerate(samples.names)}
    parts = [""] * len(samples)
    for line, (name, label, part) in _rows(path):
        where = f"{path}, line {line}"
        if name not in position:
            raise UserError(f"{where}: no image {name!r} in the data (names look like {samples.names[0]!r})")
        i = position[name]
        if label not in samples.classes:
            raise UserError(f"{where}: no class {label!r} in the data")
        if label != (own := samples.classes[samples.labels[i]]):
            raise UserError(f"{where}: {name} is {own!r} in the data, not {label!r}")
        if part not in PARTS:
            raise UserError(f"{where}: no part {part!r}, expected {', '.join(PARTS)}")
        if parts[i]:
            raise UserError(f"{where}: {name} is listed twice")
        parts[i] = part
    return replace(samples, parts=parts)


def _rows(path: Path) -> Sequence[tuple[int, list[str]]]:
    expected = f"expected CSV rows of {','.join(HEADER)}, with that header"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets may begin with a mark
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the split {path} ({error}): {expected}") from None
    if not rows or tuple(rows[0][1]) != HEADER:
        raise UserError(f"no split in {path}: {expected}")
    if wrong := [line for line, row in rows if len(row) != len(HEADER)]:
        raise UserError(f"{path}, line {wrong[0]}: {expected}")
    return rows[1:]
