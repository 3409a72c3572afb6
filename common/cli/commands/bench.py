"""training speed of the networks on this machine, and whether data loading keeps up"""

from pathlib import Path

from ...errors import Parser, UserError
from ...files.atomic import check_new
from ...models import build
from ...models.registry import BACKBONES
from ..arguments import add_device, image_size
from ..main import report_user_errors


def main(argv: list[str]) -> None:
    parser = Parser(prog="python -m common bench", description=__doc__)
    # fmt: off
    parser.add_argument("-model", "--model", nargs="+", metavar="NAME",
                        help="backbones (default: all with ImageNet weights)")
    parser.add_argument("--image_size", type=image_size, metavar="S|HxW",
                        help="input size in pixels (default: the column `at` of `list`)")
    parser.add_argument("-bs", "--batch_size", type=int, default=32, metavar="N", help="default: %(default)s")
    parser.add_argument("--steps", type=int, default=20, metavar="N",
                        help="steps per measurement (default: %(default)s)")
    add_device(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results to a new JSON file")
    # fmt: on
    options = parser.parse_args(argv)

    def measure() -> None:
        for name in ("batch_size", "steps"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} {getattr(options, name)}: expected 1 or more")
        if options.out:
            check_new(options.out, "--out")
        names = options.model or [row.name for row in BACKBONES]
        for name in names:
            build.check_name(name)

        from ...deploy import bench
        from ...run import results

        settings = ("image_size", "batch_size", "steps", "device", "precision")
        rows: list[dict] = []
        print(
            f"{'backbone':20} {'precision':9} {'pixels':>8} {'network alone':>13} {'end to end':>11} {'ratio':>7} {'data':>8} "
            f"{'memory':>8} {'GMACs':>6} {'of matmul':>9}"
        )
        for row in bench.bench_each(names, *(getattr(options, name) for name in settings)):
            print(
                f"{row['backbone']:20} {row['precision']:9} {'x'.join(map(str, row['size'])):>8} {row['synthetic']:11.1f}/s "
                f"{row['end_to_end']:9.1f}/s {100 * row['ratio']:6.1f}% {1e3 * row['data_seconds']:5.0f} ms "
                f"{row['peak_memory_bytes'] / 1e9:5.1f} GB {row['macs'] / 1e9:6.2f} {100 * row['utilization']:8.1f}%",
                flush=True,
            )
            rows.append(row)
            if options.out:  # after each, in case of an interruption
                results.write_json(options.out, rows)

    report_user_errors(measure)
