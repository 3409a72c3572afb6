"""Commands beside the data sheets: python -m common list | fetch | check | bench | predict."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from . import catalog
from .cli import friendly
from .errors import UserError
from .models import backbones
from .models.table import BACKBONES, CIFAR
from .options import size, split_as
from .spec import Dataset


def list_command(argv: list[str]) -> None:
    """the backbones and the datasets"""
    argparse.ArgumentParser(prog="python -m common list", description=list_command.__doc__).parse_args(argv)
    print(
        f"{'backbone':20} {'params':>8} {'top-1':>7} {'at':>4}  {'pretrained on':13} {'weights':42} sha256    aliases"
    )
    for row in BACKBONES:
        print(
            f"{row.name:20} {row.params / 1e6:6.2f} M {100 * row.top1:5.2f} % {row.size:4}  {row.pretrained_on:13} "
            f"{row.enum or row.weights.rsplit('/', 1)[1]:42} {row.sha256 or 'not given':9} {', '.join(row.aliases)}"
        )
    print("and any of timm's: -model timm:NAME\n")
    print(f"{'from scratch alone':21} {'params':>8} {'MACs':>7} {'at':>4}  (--weights none)")
    for row in CIFAR:
        print(f"{row.name:21} {row.params / 1e6:6.2f} M {row.macs / 1e9:5.3f} G {row.size:4}")
    print()
    print(
        f"{'dataset':14} {'domain':14} {'train':>7} {'val':>6} {'test':>6} {'classes':>8} {'pixels':>8} {'download':>8}  licence"
    )
    for sheet in catalog.datasets():
        train, val, test = (
            f"{sheet.counts[p]:,}" if p in (sheet.counts or {}) else "" for p in ("train", "val", "test")
        )
        classes = len(sheet.classes) if isinstance(sheet.classes, tuple) else sheet.classes or ""
        size = "x".join(map(str, sheet.image_size))
        print(
            f"{sheet.name:14} {sheet.domain:14} {train:>7} {val:>6} {test:>6} {classes:>8} {size:>8} {_download(sheet):>8}  "
            f"{sheet.licence}"
        )
    print("\nwhat to know of a score on them")
    for sheet in catalog.datasets():
        for caveat in sheet.caveats:
            print(f"{sheet.name:14} {caveat}")


def _download(sheet: Dataset) -> str:
    """How large, where a program can have it."""
    if not sheet.sources:
        return "bundled" if sheet.bundled else ""
    if not all(file.mirrors for file in sheet.sources):
        return "by hand"
    sizes = [file.bytes for file in sheet.sources]
    return f"{sum(sizes) / 1e6:,.0f} MB" if all(sizes) else "yes"


def fetch_command(argv: list[str]) -> None:
    """the data of one or more datasets, checked and unpacked"""
    parser = argparse.ArgumentParser(prog="python -m common fetch", description=fetch_command.__doc__)
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help="a dataset (python -m common list shows them)"
    )
    parser.add_argument(
        "--data_dir", type=Path, metavar="DIR", help="where one dataset shall lie (default: data/NAME)"
    )
    parser.add_argument(
        "--offline", action="store_true", help="open no connection: check and unpack what was brought by hand"
    )
    options = parser.parse_args(argv)

    def bring() -> None:
        from .data.fetch import fetch

        if options.data_dir and len(options.names) > 1:
            raise UserError(
                f"--data_dir is the folder of one dataset, not of {len(options.names)}: fetch them one by one"
            )
        for sheet in [catalog.find(name) for name in options.names]:
            folder = options.data_dir or Path("data") / sheet.script
            new = fetch(sheet, folder, options.offline)
            where = sheet.get if sheet.bundled else f"{folder}{'' if new else ' is there already'}"
            print(f"{sheet.title}: {where}")

    friendly(bring)


def predict_command(argv: list[str]) -> None:
    """the classes of new images, by a finished run"""
    parser = argparse.ArgumentParser(prog="python -m common predict", description=predict_command.__doc__)
    parser.add_argument("run", type=Path, metavar="RUN_FOLDER")
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE_OR_FOLDER")
    parser.add_argument(
        "--top", type=int, default=3, metavar="K", help="classes to show (default: %(default)s)"
    )
    options = parser.parse_args(argv)

    def show() -> None:
        from .predict import predict

        for image, classes in predict(options.run, options.images, options.top):
            if isinstance(classes, str):
                print(f"{image}: cannot be read ({classes})", file=sys.stderr)
            else:
                print(f"{image}: {', '.join(f'{name} {100 * p:.1f} %' for name, p in classes)}")

    friendly(show)


def check_command(argv: list[str]) -> None:
    """what is wrong with a dataset or a folder of yours"""
    parser = argparse.ArgumentParser(prog="python -m common check", description=check_command.__doc__)
    parser.add_argument("what", metavar="DATASET|FOLDER", help="one that `list` shows, or class folders")
    parser.add_argument(
        "--data_dir", type=Path, metavar="DIR", help="where the dataset lies (default: data/DATASET)"
    )
    parser.add_argument(
        "--fold", type=int, metavar="N", help="the official fold to look at, where there are some"
    )
    parser.add_argument(
        "--split",
        choices=("clean", "paper"),
        default="clean",
        help="whose split to look at (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the list of all findings as CSV, new")
    options = parser.parse_args(argv)

    def show() -> None:
        if not options.data_dir and Path(options.what).is_dir():
            sheet, folder = catalog.find("folder"), Path(options.what)
        else:
            sheet = catalog.find(options.what)
            folder = options.data_dir or Path("data") / sheet.script
        sheet = split_as(sheet, options.fold, options.split)
        if not sheet.bundled and not folder.is_dir():
            raise UserError(f"no data in {folder} (not there): {sheet.get}; --data_dir names another place")
        if options.out and options.out.exists():
            raise UserError(f"{options.out} exists already: name another file, or move it away")

        from .data import check

        report = check.check(sheet, folder)
        print("\n".join(check.verdict(report)))
        if options.out:
            check.write(options.out, report)
            print(f"{len(report.problems):,} findings -> {options.out}")

    friendly(show)


def bench_command(argv: list[str]) -> None:
    """how fast the networks train here, and whether the images keep up"""
    parser = argparse.ArgumentParser(prog="python -m common bench", description=bench_command.__doc__)
    parser.add_argument(
        "-model", "--model", nargs="+", metavar="NAME", help="backbones (default: all with ImageNet weights)"
    )
    parser.add_argument(
        "--image_size", type=size, metavar="S|HxW", help="pixels (default: those that `list` shows)"
    )
    parser.add_argument("-bs", "--batch_size", type=int, default=32, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--steps", type=int, default=20, metavar="N", help="of a measurement (default: %(default)s)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON, new")
    options = parser.parse_args(argv)

    def measure() -> None:
        for name in ("batch_size", "steps"):
            if getattr(options, name) < 1:
                raise UserError(f"--{name} {getattr(options, name)}: expected 1 or more")
        if options.out and options.out.exists():
            raise UserError(f"{options.out} exists already: name another file, or move it away")
        names = options.model or [row.name for row in BACKBONES]
        for name in names:
            backbones.check_name(name)

        from . import bench, results

        settings = ("image_size", "batch_size", "steps", "device", "precision")
        rows: list[dict] = []
        print(
            f"{'backbone':20} {'precision':9} {'pixels':>8} {'network alone':>13} {'end to end':>11} {'ratio':>7} {'data':>8} "
            f"{'memory':>8} {'GMACs':>6} {'of matmul':>9}"
        )
        for row in bench.all_of(names, *(getattr(options, name) for name in settings)):
            print(
                f"{row['backbone']:20} {row['precision']:9} {'x'.join(map(str, row['size'])):>8} {row['synthetic']:11.1f}/s "
                f"{row['end_to_end']:9.1f}/s {100 * row['ratio']:6.1f}% {1e3 * row['data_seconds']:5.0f} ms "
                f"{row['peak_memory_bytes'] / 1e9:5.1f} GB {row['macs'] / 1e9:6.2f} {100 * row['utilization']:8.1f}%",
                flush=True,
            )
            rows.append(row)
            if options.out:  # after each: what is measured is not lost
                results.write_json(options.out, rows)

    friendly(measure)


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "list": list_command,
    "fetch": fetch_command,
    "check": check_command,
    "predict": predict_command,
    "bench": bench_command,
}


def main(argv: list[str]) -> None:
    listing = "\n".join(f"  {name:10} {command.__doc__}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m common",
        epilog=f"commands:\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("options", nargs=argparse.REMAINDER, metavar="...", help="see COMMAND --help")
    options = parser.parse_args(argv)
    COMMANDS[options.command](options.options)


if __name__ == "__main__":
    main(sys.argv[1:])
