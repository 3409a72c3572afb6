"""Read and write a split as CSV: `path,label,part`, a row per image."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...files.csv_text import escape, unescape
from ...spec import PARTS, Samples, Split

HEADER = ("path", "label", "part")


def write(path: Path, samples: Samples, split: Split) -> None:
    """Write name, class and part of every image that is in a part, in the order of the samples."""
    part_of = {i: part for part in PARTS for i in getattr(split, part)}
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(HEADER)
        rows.writerows(
            (escape(samples.names[i]), escape(samples.classes[samples.labels[i]]), part_of[i]) for i in sorted(part_of)
        )


def apply(path: Path, samples: Samples) -> Samples:
    """The samples with the parts of the file; images that are not listed are in no part.

    Raises:
        UserError: not such a file, or its images, classes or parts are not those of the data.
    """
    position = {name: i for i, name in enumerate(samples.names)}
    parts = [""] * len(samples)
    for line, (name, label, part) in _rows(path):
        where = f"{path}, line {line}"
        if name not in position:
            raise UserError(f"{where}: no image {name!r} in the data (an example of a name: {samples.names[0]!r})")
        i = position[name]
        if label not in samples.classes:
            raise UserError(f"{where}: no class {label!r} in the data")
        if label != (actual := samples.classes[samples.labels[i]]):
            raise UserError(f"{where}: {name} is {actual!r} in the data, not {label!r}")
        if part not in PARTS:
            raise UserError(f"{where}: no part {part!r}, expected {', '.join(PARTS)}")
        if parts[i]:
            raise UserError(f"{where}: {name} is listed twice")
        parts[i] = part
    return replace(samples, parts=parts)


def _rows(path: Path) -> Sequence[tuple[int, list[str]]]:
    expected = f"expected CSV rows of {','.join(HEADER)}, with that header"
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets may write a byte order mark
            reader = csv.reader(file)
            rows = [(reader.line_num, list(map(unescape, row))) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the split {path} ({error}): {expected}") from None
    if not rows or tuple(rows[0][1]) != HEADER:
        raise UserError(f"no split in {path}: {expected}")
    if wrong := [line for line, row in rows if len(row) != len(HEADER)]:
        raise UserError(f"{path}, line {wrong[0]}: {expected}")
    return rows[1:]
