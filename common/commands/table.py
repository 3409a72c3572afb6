"""the table of the networks trained from scratch, from run folders"""

from pathlib import Path

from ..cli import friendly
from ..errors import Parser


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common table", description=__doc__)
    parser.add_argument("what", choices=("scratch",))
    parser.add_argument(
        "runs", type=Path, nargs="*", default=[Path("runs")], metavar="FOLDER", help="default: runs"
    )
    options = parser.parse_args(argv)

    def show() -> None:
        from ..answers import scratch

        print(scratch.table(scratch.find(options.runs)))

    friendly(show)
