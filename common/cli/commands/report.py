"""summarise run folders in one HTML page: tables, charts and an answer"""

from pathlib import Path

from ...errors import Parser
from .. import catalog
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common report", description=__doc__)
    # fmt: off
    parser.add_argument("runs", type=Path, nargs="+", metavar="FOLDER", help="run folders, or their parents")
    parser.add_argument("-o", "--out", type=Path, default=Path("report.html"), metavar="FILE",
                        help="new HTML page; results.csv and tables.md are written next to it (default: %(default)s)")
    # fmt: on
    options = parser.parse_args(argv)

    def write() -> None:
        from ...report.report import report

        found = report(options.runs, options.out, {sheet.name: sheet.domain for sheet in catalog.datasets()})
        rest = {"unfinished": len(found.unfinished), "unreadable": len(found.unreadable)}
        counts = "".join(f", {n:,} {kind}" for kind, n in rest.items() if n)
        print(f"{len(found.rows):,} runs{counts} -> {options.out}")

    report_user_errors(write)
