"""show the progress of the runs in a folder, such as a sweep's"""

from pathlib import Path

from ...errors import Parser, UserError
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common status", description=__doc__)
    # fmt: off
    parser.add_argument("out", type=Path, nargs="?", default=Path("runs/sweep"), metavar="FOLDER",
                        help="default: %(default)s")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> None:
        from ...sweep import status

        if not options.out.is_dir():
            raise UserError(f"no folder {options.out}: expected the parent of run folders")
        print(status.format_status(options.out))

    report_user_errors(show)
