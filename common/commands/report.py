"""run folders as tables, charts and an answer: one HTML page"""

import argparse
from pathlib import Path

from .. import catalog
from ..cli import friendly


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m common report", description=__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="FOLDER", help="run folders, or folders that hold some"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("report.html"), metavar="FILE",
        help="the page, new; results.csv and tables.md come beside it (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(argv)

    def write() -> None:
        from ..answers.report.report import report

        found = report(options.runs, options.out, {sheet.name: sheet.domain for sheet in catalog.datasets()})
        others = {"unfinished": len(found.unfinished), "unreadable": len(found.unreadable)}
        told = "".join(f", {n:,} {what}" for what, n in others.items() if n)
        print(f"{len(found.rows):,} runs{told} -> {options.out}")

    friendly(write)
