"""Run folders -> an HTML page with a CSV of all runs and Markdown tables next to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import UserError, disk_errors, printable_lines
from ..files.atomic import atomic_write
from . import tables
from .runs import LoadedRuns, load_runs
from .sections import build_sections

CSV, MARKDOWN = "results.csv", "tables.md"


def write_report(folders: Sequence[Path], out: Path, domains: Mapping[str, str]) -> LoadedRuns:
    """Write the page `out`, and `results.csv` and `tables.md` next to it. `domains`: {data sheet: domain}.

    Raises:
        UserError: `out` is no HTML page, one of the three files exists already or cannot be written, or there are no runs.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"-o {out}: expected the name of a page, such as {out / 'report.html'}")
    for path in (out, out.with_name(CSV), out.with_name(MARKDOWN)):
        if path.exists():
            raise UserError(f"{path} exists already: name a page in another folder with -o, or move it away")
    loaded = load_runs(folders)
    sections = build_sections(loaded.finished, domains)

    from .page import render_page

    html = render_page(loaded, sections)
    with disk_errors(out.parent, "-o"):
        out.parent.mkdir(parents=True, exist_ok=True)
    tables.write_csv(out.with_name(CSV), loaded.finished, sections)
    with atomic_write(out.with_name(MARKDOWN), "-o") as part:
        part.write_text(printable_lines(tables.to_markdown(sections)), "utf-8")
    with atomic_write(out, "-o") as part:
        part.write_text(html, "utf-8")
    return loaded
