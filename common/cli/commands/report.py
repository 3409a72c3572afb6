"""summarise run folders in one HTML page: tables, charts and an answer"""

from pathlib import Path

from ...errors import Parser
from .. import catalog
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common report", description=__doc__)
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="FOLDER", help="run folders, or folders that contain them"
    )
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("report.html"), metavar="FILE",
        help="HTML page to create; results.csv and tables.md are written next to it (default: %(default)s)",
    )  # fmt: skip
    options = parser.parse_args(argv)

    def write() -> None:
        from ...report.report import write_report

        domains = {sheet.name: sheet.domain for sheet in catalog.datasets()}
        loaded = write_report(options.runs, options.out, domains)
        rest = {"unfinished": len(loaded.unfinished), "unreadable": len(loaded.unreadable)}
        counts = "".join(f", {n:,} {kind}" for kind, n in rest.items() if n)
        print(f"{len(loaded.finished):,} runs{counts} -> {options.out}")

    report_user_errors(write)
