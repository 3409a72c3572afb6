"""find problems in a dataset or in your folder"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Parser, printable
from ...files.atomic import check_new
from ...models.build import get_backbone
from ...spec import Dataset
from .. import catalog
from ..arguments import add_groups, add_labels, add_pixels, bind_groups, bind_labels, check_labels, check_pixels
from ..main import report_user_errors
from ..options import DEFAULT_MODEL
from ..parse import check_data, with_split

if TYPE_CHECKING:
    from ...data.checks.check import Report


def main(argv: list[str]) -> None:
    options = _parser().parse_args(argv)
    report_user_errors(lambda: _check(options))


def _parser() -> Parser:
    parser = Parser(prog="python -m common check", description=__doc__)
    # fmt: off
    parser.add_argument("what", metavar="DATASET|FOLDER", help="a dataset of `list`, or your folder or archive of images")
    parser.add_argument("--data_dir", type=Path, metavar="DIR", help="data folder (default: data/DATASET)")
    parser.add_argument("--fold", type=int, metavar="N",
                        help="the official fold to check (default: the data sheet's)")
    parser.add_argument("--split", choices=("clean", "paper"), default="clean",
                        help="the data sheet's split or the paper's (default: %(default)s)")
    add_labels(parser)
    add_pixels(parser)
    add_groups(parser, None, "auto for your folder, else the data sheet's groups")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all findings to a new CSV file")
    parser.add_argument("--sheet", type=Path, metavar="FILE",
                        help="draw images of every class as the network gets them, and augmented, to a new JPEG file")
    parser.add_argument("--label_errors", type=Path, metavar="FILE",
                        help="write the labels that a linear probe contradicts to a new CSV file, and draw them in a JPEG file beside it")
    # fmt: on
    return parser


def _check(options: argparse.Namespace) -> None:
    sheet, folder = _dataset(options)
    check_pixels(options)
    _check_outputs(options)

    from ...data.checks.check import check
    from ...data.checks.report import summary, write
    from ...run.frozen_probe import frozen_probe

    preprocess = get_backbone(DEFAULT_MODEL).preprocess(sheet.image_size)
    preprocess = replace(preprocess, value_range=options.value_range, bands=options.bands)
    report = check(replace(sheet, load=bind_groups(sheet.load, options)), folder, preprocess)
    if probe := frozen_probe(report):
        report = replace(report, baselines=(*report.baselines, probe))
    print("\n".join(map(printable, summary(report))))
    if options.out:
        write(options.out, report)
        print(f"{len(report.problems):,} findings -> {options.out}")
    if options.sheet:
        from ...run.contact_sheet import of_report, write_contact_sheet

        write_contact_sheet(options.sheet, of_report(report), sheet.title, "--sheet")
        print(f"contact sheet -> {options.sheet}")
    if options.label_errors:
        _print_label_errors(options.label_errors, report)


def _dataset(options: argparse.Namespace) -> tuple[Dataset, Path]:
    """The data sheet and the data folder; your folder is grouped by `auto` unless `--group_by` is set.

    Raises:
        UserError: no such dataset, fold, split or data.
    """
    if not options.data_dir and os.path.exists(options.what):
        sheet, folder = catalog.find("folder"), Path(options.what)
    else:
        sheet = catalog.find(options.what)
        folder = options.data_dir or Path("data") / sheet.script
    check_labels(sheet, options)
    if sheet.classes is None:
        sheet = replace(sheet, load=bind_labels(sheet.load, options))
        options.group_by = options.group_by or "auto"
    sheet = with_split(sheet, options.fold, options.split)
    check_data(sheet, folder)
    return sheet, folder


def _check_outputs(options: argparse.Namespace) -> None:
    """Raises: UserError: a file to write exists, or its folder does not."""
    for option in ("out", "sheet", "label_errors"):
        if path := getattr(options, option):
            check_new(path, f"--{option}")
    if options.label_errors:
        check_new(options.label_errors.with_suffix(".jpg"), "--label_errors")


def _print_label_errors(path: Path, report: "Report") -> None:
    from ...run import label_errors

    errors = label_errors.find(report, DEFAULT_MODEL)
    print("\n".join(map(printable, label_errors.summary(report, errors))))
    label_errors.write_csv(path, report, errors)
    print(f"{len(errors.positions):,} suspicious labels -> {path}")
    if len(errors.positions):
        label_errors.write_sheet(path.with_suffix(".jpg"), report, errors)
        print(f"contact sheet -> {path.with_suffix('.jpg')}")
