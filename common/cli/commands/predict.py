"""classify new images with a finished run's network"""

import sys
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Parser, UserError, printable
from ..arguments import threshold
from ..main import report_user_errors

if TYPE_CHECKING:
    from ...run.operating_point import OperatingPoint


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common predict", description=__doc__)
    # fmt: off
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--top", type=int, default=3, metavar="K",
                        help="classes to show (default: %(default)s)")
    parser.add_argument("--explain", type=Path, metavar="DIR",
                        help="write a picture per image into this new folder: the regions that support its most likely class")
    parser.add_argument("--threshold", type=threshold, metavar="P|recall=R",
                        help="of two classes: predict the second from this probability on, such as 0.3; or from the one with which "
                             "this fraction of its validation images is found, such as recall=0.95")
    parser.add_argument("--positive", metavar="CLASS", help="the class of --threshold (default: the second)")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> int:
        from ...deploy.predict import predict

        unreadable = 0
        point = _operating_point(options)
        for image, classes in predict(options.run, options.images, options.top, options.explain, point):
            if isinstance(classes, str):
                print(printable(f"{image}: cannot be read ({classes})"), file=sys.stderr)
                unreadable += 1
            else:
                print(printable(f"{image}: {', '.join(f'{name} {100 * p:.1f} %' for name, p in classes)}"))

        if options.explain and options.explain.is_dir():
            print(f"pictures -> {options.explain}", file=sys.stderr)
        return unreadable

    if report_user_errors(show):
        sys.exit(1)


def _operating_point(options: Namespace) -> "OperatingPoint | None":
    """The one of `--threshold`, with a line about it."""
    if options.threshold is None:
        if options.positive is not None:
            raise UserError("--positive is the class of a threshold: add --threshold")
        return None
    from ...run import results
    from ...run.operating_point import choose_point, format_point

    card = results.read_model_card(options.run / results.BEST)
    value, recall = options.threshold
    point = choose_point(options.run, card, value, recall, options.positive)
    print(printable(format_point(point)), file=sys.stderr)
    return point
