"""download, verify and unpack one or more datasets"""

from pathlib import Path

from ...errors import Parser, UserError
from .. import catalog
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common fetch", description=__doc__)
    # fmt: off
    parser.add_argument("names", nargs="+", metavar="NAME", help="a dataset of `python -m common list`")
    parser.add_argument("--data_dir", type=Path, metavar="DIR",
                        help="data folder of a single dataset (default: data/NAME)")
    parser.add_argument("--offline", action="store_true",
                        help="no network access: verify and unpack files downloaded by hand")
    # fmt: on
    options = parser.parse_args(argv)

    def fetch_all() -> None:
        from ...data.download.fetch import fetch

        if options.data_dir and len(options.names) > 1:
            raise UserError(f"--data_dir is for one dataset, not for {len(options.names)}: fetch them one by one")
        for sheet in [catalog.find(name) for name in options.names]:
            folder = options.data_dir or Path("data") / sheet.script
            fetched = fetch(sheet, folder, options.offline)
            note = f" exists already, not verified (python -m common check {sheet.script} counts its images)"
            state = sheet.get if sheet.bundled else f"{folder}{'' if fetched else note}"
            print(f"{sheet.title}: {state}")

    report_user_errors(fetch_all)
