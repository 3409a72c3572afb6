"""print a table of the networks trained from scratch, from their run folders"""

from pathlib import Path

from ...errors import Parser
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common table", description=__doc__)
    # fmt: off
    parser.add_argument("what", choices=("scratch",))
    parser.add_argument("runs", type=Path, nargs="*", default=[Path("runs")], metavar="FOLDER",
                        help="default: runs")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> None:
        from ...report import scratch_table

        print(scratch_table.format_table(scratch_table.load_results(options.runs)))

    report_user_errors(show)
