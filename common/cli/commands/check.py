"""find problems in a dataset or in your folder"""

from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from .. import catalog
from ..main import report_user_errors
from ..parse import with_split


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common check", description=__doc__)
    # fmt: off
    parser.add_argument("what", metavar="DATASET|FOLDER", help="a dataset of `list`, or class folders")
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="data folder (default: data/DATASET)")
    parser.add_argument("--fold", type=int, metavar="N",
                        help="the official fold to check (default: the data sheet's)")
    parser.add_argument("--split", choices=("clean", "paper"), default="clean",
                        help="the data sheet's split or the paper's (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all findings to a new CSV file")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> None:
        if not options.data_dir and Path(options.what).is_dir():
            sheet, folder = catalog.find("folder"), Path(options.what)
        else:
            sheet = catalog.find(options.what)
            folder = options.data_dir or Path("data") / sheet.script
        sheet = with_split(sheet, options.fold, options.split)
        if not sheet.bundled and not folder.is_dir():
            raise UserError(f"no data in {folder} (not found): {sheet.get}; or pass its folder as --data_dir")
        if options.out:
            check_new(options.out, "--out")

        from ...data.checks import check

        report = check.check(sheet, folder)
        print("\n".join(check.summary(report)))
        if options.out:
            check.write(options.out, report)
            print(f"{len(report.problems):,} findings -> {options.out}")

    report_user_errors(show)
