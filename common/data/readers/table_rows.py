"""Read the rows of a table file: image, label, part and group, by the usual names of its columns."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...errors import UserError
from ...files.csv_text import unescape
from .part_names import parts_of
from .suffixes import image_suffixes, suffix_of

# The usual names of columns, in lower case, most specific first
COLUMNS = {
    "image": (
        "image_path", "img_path", "file_path", "filepath", "file_name", "filename", "image_name", "img_name", "imagename", "fname",
        "image_index", "image_file", "image", "images", "img", "file", "files", "path", "picture", "photo", "image_id", "imageid", "id_code", "name", "id",
    ),
    "label": (
        "label", "labels", "label_name", "class_label", "class_name", "classname", "class", "classes", "category", "category_name", "target",
        "diagnosis", "dx", "species", "breed", "variety", "disease", "tag", "tags", "choice", "finding_labels", "finding", "ground_truth", "gt", "y", "label_id", "class_id",
    ),
    "split": ("split", "set", "subset", "part", "partition", "usage", "fold", "dataset"),
    "group": (
        "group", "group_id", "groups", "patient", "patient_id", "patientid", "subject", "subject_id", "case", "case_id", "lesion_id",
        "leaf", "leaf_id", "individual", "individual_id", "specimen_id", "scene", "scene_id", "clip", "clip_id", "video", "video_id",
    ),
}  # fmt: skip
DELIMITERS = ",;\t|"
MAX_PARTS = 9  # different values of a column of parts
JSON_LINES = (".jsonl", ".ndjson")
MARKS = {"0": False, "1": True, "0.0": False, "1.0": True, "": False}  # in a class's column


@dataclass(frozen=True, kw_only=True)
class TableColumns:
    """The columns that the user has named; None: found by their usual names."""

    image: str | None = None
    label: str | None = None
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row of a table; missing values are empty."""

    image: str
    label: str
    split: str
    group: str


@dataclass(frozen=True)
class _Table:
    name: str  # in messages
    header: Sequence[str]
    cells: Sequence[Sequence[str]]


def read_rows(path: Path, name: str, columns: TableColumns) -> list[Row]:
    """The rows of the table at `path`, which messages call `name`.

    Raises:
        UserError: it cannot be read, or lacks the columns of image and label.
    """
    parse = _json_lines if path.suffix.lower() in JSON_LINES else _delimited
    table = parse(_text(path, name), name)
    chosen = {kind: _column(table, kind, getattr(columns, kind)) for kind in COLUMNS}
    classes = _class_columns(table, chosen) if chosen["label"] is None else []
    if chosen["image"] is None and _has_no_header(table):
        table = _Table(name, ("image", "label"), [table.header, *table.cells])
        chosen = {"image": 0, "label": 1, "split": None, "group": None}
    lacking = [kind for kind in ("image", "label") if chosen[kind] is None and not (kind == "label" and classes)]
    if lacking:
        raise UserError(
            f"{name} has the columns {', '.join(table.header[:12])}: none is named like {' or '.join(lacking)}; "
            f"pass {' and '.join(f'--{kind}_column' for kind in lacking)}"
        )
    if not table.cells:
        raise UserError(f"{name} has no rows: expected a header and a row per image")
    if columns.split is None:
        chosen["split"] = _part_column(table, chosen, classes)

    def cell(row: Sequence[str], kind: str) -> str:
        return "" if chosen[kind] is None else row[chosen[kind]]

    return [
        Row(
            image=cell(row, "image"),
            label=_marked(table, row, classes, cell(row, "image")) if classes else cell(row, "label"),
            split=cell(row, "split"),
            group=cell(row, "group"),
        )
        for row in table.cells
        if cell(row, "image")
    ]


def _text(path: Path, name: str) -> str:
    try:
        content = path.read_bytes()
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return content.decode("utf-16")
        if b"\0" in content:
            raise UserError(f"{name} is not text: expected CSV, TSV or JSON lines; save a spreadsheet as CSV")
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            return content.decode("cp1252")  # of spreadsheets
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the table {path} ({error}): expected text in UTF-8") from None


def _delimited(text: str, name: str) -> _Table:
    """By the delimiter that is most frequent in the header; short rows are filled up."""
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=header.count)
    try:
        lines = io.StringIO(text, newline="")
        reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        rows = [
            (reader.line_num, [unescape(cell.strip()) for cell in row]) for row in reader if any(map(str.strip, row))
        ]
    except csv.Error as error:
        raise UserError(f"cannot read the table {name} ({error}): expected CSV, TSV or JSON lines") from None
    if not rows:
        raise UserError(f"{name} is empty: expected a header and a row per image")
    width = len(rows[0][1])
    for line, row in rows:
        if any(row[width:]):
            raise UserError(f"{name}, line {line}: {len(row)} cells, but the header has {width}")
    return _Table(name, rows[0][1], [row[:width] + [""] * (width - len(row)) for _, row in rows[1:]])


def _json_lines(text: str, name: str) -> _Table:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            if line.strip():
                rows.append(dict(json.loads(line)))
        except (ValueError, TypeError):
            raise UserError(f"cannot read the table {name}, line {number}: expected a JSON object per line") from None
    header = list(dict.fromkeys(key for row in rows for key in row))
    cells = [["" if row.get(key) is None else str(row[key]) for key in header] for row in rows]
    return _Table(name, header, cells)


def _column(table: _Table, kind: str, wanted: str | None) -> int | None:
    """The position of the column `wanted`, or of the first with a usual name.

    Raises:
        UserError: there is no column `wanted`.
    """
    if wanted is not None:
        if wanted in table.header:
            return list(table.header).index(wanted)
        raise UserError(f"--{kind}_column {wanted}: {table.name} has the columns {', '.join(table.header[:12])}")
    plain = [re.sub(r"[^a-z0-9]+", "_", column.lower()).strip("_") for column in table.header]
    return next((plain.index(name) for name in COLUMNS[kind] if name in plain), None)


def _has_no_header(table: _Table) -> bool:
    return len(table.header) == 2 and suffix_of(table.header[0]) in image_suffixes()


def _part_column(table: _Table, chosen: Mapping[str, int | None], classes: Sequence[int]) -> int | None:
    """The column with names of parts, not fold numbers: one with a usual name, or else one with nothing but parts."""

    def values(column: int) -> set[str]:
        return {row[column] for row in table.cells if row[column]}

    if chosen["split"] is not None and parts_of(values(chosen["split"])):
        return chosen["split"]
    used = {*chosen.values(), *classes}
    for column in set(range(len(table.header))) - used:
        parts = parts_of(found) if 1 < len(found := values(column)) <= MAX_PARTS else {}
        if len(parts) == len(found) and "train" in parts.values() and len(set(parts.values())) > 1:
            return column
    return None


def _class_columns(table: _Table, chosen: Mapping[str, int | None]) -> list[int]:
    """The columns of zeros and ones, one per class, as Roboflow writes them."""
    free = [i for i in range(len(table.header)) if i not in chosen.values()]
    columns = [i for i in free if {row[i] for row in table.cells} <= MARKS.keys()]
    return columns if len(columns) > 1 else []


def _marked(table: _Table, row: Sequence[str], classes: Sequence[int], image: str) -> str:
    """The class whose column holds a one.

    Raises:
        UserError: there are several.
    """
    marked = [table.header[i] for i in classes if MARKS[row[i]]]
    if len(marked) > 1:
        raise UserError(f"{table.name}: {image} has several labels ({', '.join(marked[:3])}): expected one per image")
    return marked[0] if marked else ""
