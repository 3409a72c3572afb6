"""measure the training speed of networks on this machine, or the cost of serving a finished run's network"""

import sys
from argparse import Namespace
from pathlib import Path

from ...errors import Parser, UserError, printable
from ...files.atomic import check_new
from ...models import build
from ...models.registry import BACKBONES
from ...run.results import SERVE
from ..arguments import add_device, image_size
from ..main import report_user_errors

SETTINGS = ("model", "image_size", "batch_size", "steps", "device", "precision")


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
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results to a new JSON file (default with --serve: serve.json in the run folder, where the report finds it)")
    parser.add_argument("--serve", type=Path, metavar="RUN_FOLDER",
                        help="instead, the latency, throughput and file size of a finished run's network on the CPU, with PyTorch and "
                             "ONNX Runtime, and its accuracy in int8")
    # fmt: on
    options = parser.parse_args(argv)

    def measure() -> None:
        out = options.out or (options.serve and options.serve / SERVE)
        if out and (options.out or options.serve.is_dir()):  # a missing run folder is an error of its own
            check_new(out, "--out")
        if options.serve:
            _serve(options.serve, out, [n for n in SETTINGS if getattr(options, n) != parser.get_default(n)])
        else:
            _train(options)

    report_user_errors(measure)


def _train(options: Namespace) -> None:
    for name in ("batch_size", "steps"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: expected 1 or more")
    names = options.model or [row.name for row in BACKBONES]
    for name in names:
        build.check_name(name)

    from ...deploy import bench
    from ...run import results

    rows: list[dict] = []
    print(
        f"{'backbone':20} {'precision':9} {'pixels':>8} {'network alone':>13} {'end to end':>11} {'ratio':>7} {'data':>8} "
        f"{'memory':>8} {'GMACs':>6} {'of matmul':>9}"
    )
    for row in bench.bench_each(names, *(getattr(options, name) for name in SETTINGS[1:])):
        print(
            f"{row['backbone']:20} {row['precision']:9} {'x'.join(map(str, row['size'])):>8} {row['synthetic']:11.1f}/s "
            f"{row['end_to_end']:9.1f}/s {100 * row['ratio']:6.1f}% {1e3 * row['data_seconds']:5.0f} ms "
            f"{row['peak_memory_bytes'] / 1e9:5.1f} GB {row['macs'] / 1e9:6.2f} {100 * row['utilization']:8.1f}%",
            flush=True,
        )
        rows.append(row)
        if options.out:  # after each, in case of an interruption
            results.write_json(options.out, rows)


def _serve(run_folder: Path, out: Path, others: list[str]) -> None:
    if others:
        raise UserError(f"--serve measures a run as it is, on the CPU: drop --{', --'.join(others)}")

    from ...run import results
    from ..run_dataset import load_run_dataset

    results.read_model_card(run_folder / results.BEST)
    dataset = None
    try:
        dataset = load_run_dataset(run_folder)
    except UserError as error:
        print(printable(f"int8 is not measured, it needs the run's images: {error}"), file=sys.stderr)

    from ...deploy import serve

    row = serve.measure(run_folder, dataset)
    results.write_json(out, row)
    height, width = row["size"]
    print(f"{row['backbone']} at {height}x{width} on {row['device']}; throughput in batches of {row['batch_size']}")
    print(f"{'engine':18} {'threads':>7} {'p50':>9} {'p95':>9} {'throughput':>12} {'file':>9}")
    for engine in row["engines"]:
        print(
            f"{engine['engine']:18} {engine['threads']:7} {engine['p50_ms']:6.1f} ms {engine['p95_ms']:6.1f} ms "
            f"{engine['images_per_second']:8.1f} /s {engine['file_bytes'] / 1e6:6.1f} MB"
        )
    if int8 := row["int8"]:
        low, high = (100 * end for end in int8["interval"])
        print(
            f"int8, calibrated on {int8['calibration_images']} training images: top-1 {100 * int8['int8_top1']:.2f} % instead of "
            f"{100 * int8['top1']:.2f} % on the same {int8['n']:,} test images, difference {100 * int8['difference']:+.2f} "
            f"[{low:+.2f}, {high:+.2f}] points (p = {int8['p']:.2g})"
        )
    print(printable(f"-> {out}"))
