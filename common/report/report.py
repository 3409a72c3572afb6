"""Run folders -> a page, a CSV of all runs and Markdown tables, beside each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import UserError, disk_errors
from ..files.atomic import atomic_write
from . import tables
from .read import Found, read
from .sections import sections

CSV, MARKDOWN = "results.csv", "tables.md"


def report(folders: Sequence[Path], out: Path, domains: Mapping[str, str]) -> Found:
    """Write the page `out`, and `results.csv` and `tables.md` beside it. `domains` tells that of a dataset.

    Raises:
        UserError: one of the three is there already, cannot be written, or there are no runs.
    """
    for path in (out, out.with_name(CSV), out.with_name(MARKDOWN)):
        if path.exists():
            raise UserError(f"{path} exists already: name a page in another folder with -o, or move it away")
    found = read(folders)
    told = sections(found.rows, domains)

    from .page import page

    text = page(found, told)
    with disk_errors(out.parent, "-o"):
        out.parent.mkdir(parents=True, exist_ok=True)
    tables.write_csv(out.with_name(CSV), found.rows, told)
    with atomic_write(out.with_name(MARKDOWN), "-o") as part:
        part.write_text(tables.markdown(told), "utf-8")
    with atomic_write(out, "-o") as part:
        part.write_text(text, "utf-8")
    return found
