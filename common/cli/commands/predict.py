"""classify new images with a finished run's network"""

import sys
from pathlib import Path

from ...errors import Parser, printable
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common predict", description=__doc__)
    # fmt: off
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument("--top", type=int, default=3, metavar="K",
                        help="classes to show (default: %(default)s)")
    parser.add_argument("--explain", type=Path, metavar="DIR",
                        help="write a picture per image into this new folder: the regions that support its most likely class")
    # fmt: on
    options = parser.parse_args(argv)

    def show() -> int:
        from ...deploy.predict import predict

        unreadable = 0
        for image, classes in predict(options.run, options.images, options.top, options.explain):
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
