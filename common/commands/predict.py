"""classify new images with a finished run's network"""

import argparse
import sys
from pathlib import Path

from ..cli import friendly


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m common predict", description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--top", type=int, default=3, metavar="K", help="classes to show (default: %(default)s)"
    )
    options = parser.parse_args(argv)

    def show() -> None:
        from ..predict import predict

        for image, classes in predict(options.run, options.images, options.top):
            if isinstance(classes, str):
                print(f"{image}: cannot be read ({classes})", file=sys.stderr)
            else:
                print(f"{image}: {', '.join(f'{name} {100 * p:.1f} %' for name, p in classes)}")

    friendly(show)
