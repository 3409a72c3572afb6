"""download, verify and unpack one or more datasets"""

from pathlib import Path

from ...errors import Parser, UserError
from .. import catalog
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common fetch", description=__doc__)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="a dataset (python -m common list shows them)"
    )
    parser.add_argument(
        "--data_dir", type=Path, metavar="DIR", help="data folder of a single dataset (default: data/NAME)"
    )
    parser.add_argument(
        "--offline", action="store_true", help="no network: verify and unpack files downloaded by hand"
    )
    options = parser.parse_args(argv)

    def bring() -> None:
        from ...data.download.fetch import fetch

        if options.data_dir and len(options.names) > 1:
            raise UserError(
                f"--data_dir is the folder of one dataset, not of {len(options.names)}: fetch them one by one"
            )
        for sheet in [catalog.find(name) for name in options.names]:
            folder = options.data_dir or Path("data") / sheet.script
            new = fetch(sheet, folder, options.offline)
            old = f" is there already, not checked (python -m common check {sheet.script} counts its images)"
            where = sheet.get if sheet.bundled else f"{folder}{'' if new else old}"
            print(f"{sheet.title}: {where}")

    report_user_errors(bring)
