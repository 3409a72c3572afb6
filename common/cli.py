"""From argv to the result line: the only place that talks to the user. Nothing here loads torch."""

import argparse
import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from .errors import UserError
from .models import backbones, weights
from .spec import Dataset, Run

DEFAULT_MODEL = "efficientnet_lite0"


def main(dataset: Dataset | tuple[Dataset, ...], argv: Sequence[str] | None = None) -> None:
    """Run the script of a data sheet, or of several; exits with status 2 on a mistake that the user can mend."""
    sheets = dataset if isinstance(dataset, tuple) else (dataset,)
    options = parser(*sheets).parse_args(argv)
    result = friendly(lambda: _run(check(choose(sheets, options), options), options.download))
    if result:
        print(result)


def friendly(work: Callable[[], Any]) -> Any:
    """Do `work`; a `UserError` becomes one line and exit status 2."""
    try:
        return work()
    except UserError as error:
        sys.exit(_complain(str(error)))
    except KeyboardInterrupt:
        sys.exit(130)


def _complain(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def choose(sheets: tuple[Dataset, ...], options: argparse.Namespace) -> Dataset:
    """The sheet, and its fold, that the `options` name; these then hold neither."""
    dataset, asked = sheets[0], vars(options)
    if dataset.variant:
        option = dataset.variant[0]
        dataset = {sheet.variant: sheet for sheet in sheets}[option, asked.pop(option)]
    if dataset.folds and (fold := asked.pop("fold")):
        dataset = replace(dataset, fold=fold, load=partial(dataset.load, fold=fold))
    return dataset


def parser(dataset: Dataset, *variants: Dataset) -> argparse.ArgumentParser:
    height, width = dataset.image_size
    p = argparse.ArgumentParser(
        prog=f"{dataset.script}.py",
        description=f"Fine-tune a backbone on {dataset.title}, choose the epoch on validation data and test it once.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        allow_abbrev=False,
    )
    what = p.add_argument_group("what to train")
    what.add_argument(
        "-model",
        "--model",
        default=DEFAULT_MODEL,
        metavar="NAME",
        help="a backbone (python -m common list shows them), or timm:NAME for any of timm's (default: %(default)s)",
    )
    what.add_argument(
        "--weights",
        default="imagenet",
        metavar="imagenet|none|FILE",
        help="where to start from: ImageNet weights, nothing, or a .safetensors or .pth file (default: %(default)s)",
    )
    what.add_argument(
        "--image_size",
        type=_size,
        default=dataset.image_size,
        metavar="S|HxW",
        help=f"pixels that the network sees (default: {height}x{width})",
    )
    data = p.add_argument_group("the data")
    data.add_argument(
        "--data_dir",
        type=Path,
        default=Path("data") / dataset.script,
        metavar="DIR",
        help=f"where it lies (default: %(default)s); {dataset.get}",
    )
    data.add_argument("--download", action="store_true", help="fetch it when it is not there")
    if dataset.variant:
        option, first = dataset.variant
        values = [sheet.variant[1] for sheet in (dataset, *variants)]
        data.add_argument(f"--{option}", choices=values, default=first, help="default: %(default)s")
    if dataset.folds:
        data.add_argument(
            "--fold",
            type=int,
            choices=range(1, dataset.folds + 1),
            default=dataset.fold,
            metavar="N",
            help=f"which of the {dataset.folds} official folds (default: {dataset.fold or 'none, a split of ours'})",
        )
    data.add_argument(
        "--subset", action="store_true", help="accept other counts than the sheet's; the result says so"
    )
    data.add_argument(
        "--skip_bad", action="store_true", help="leave out images that cannot be read; the result counts them"
    )
    data.add_argument(
        "--split_file",
        type=Path,
        metavar="FILE",
        help="path,label,part of every image to use, such as another run's split.csv (default: the sheet's own split)",
    )
    few = data.add_mutually_exclusive_group()
    few.add_argument(
        "--shots", type=int, metavar="K", help="train on K images per class; validation shrinks along"
    )
    few.add_argument(
        "--fraction",
        type=float,
        metavar="F",
        help="train on this share of the images; validation shrinks along",
    )
    how = p.add_argument_group("how to train")
    how.add_argument(
        "-bs",
        "--batch_size",
        type=int,
        default=32,
        metavar="N",
        help="images per step; halve it when the memory does not suffice (default: %(default)s)",
    )
    how.add_argument(
        "--epochs", type=int, metavar="N", help="default: 10, or more on a small set, for 500 steps at least"
    )
    how.add_argument("--lr", type=float, metavar="X", help="highest learning rate (default: the recipe's)")
    how.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of validation split, order, changes and head (default: %(default)s)",
    )
    where = p.add_argument_group("where")
    where.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="default: the GPU where there is one",
    )
    where.add_argument(
        "--precision",
        choices=("auto", "fp32", "bf16", "fp16"),
        default="auto",
        help="of the forward pass and the loss (default: what the device computes fast)",
    )
    where.add_argument("--offline", action="store_true", help="open no network connection")
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="the run folder, new (default: runs/DATASET-MODEL-sSEED-TIME)"
    )
    return p


def check(dataset: Dataset, options: argparse.Namespace) -> Run:
    """All that can be known before torch is loaded.

    Raises:
        UserError: something that the user can mend.
    """
    for name, least in (("batch_size", 1), ("epochs", 1), ("seed", 0), ("shots", 1)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    if options.lr is not None and not 0 < options.lr < 100:
        raise UserError(f"--lr {options.lr}: expected a rate above 0, such as 1e-3")
    if options.fraction is not None and not 0 < options.fraction <= 1:
        raise UserError(f"--fraction {options.fraction}: expected a share of train above 0, such as 0.1")
    if options.split_file and not options.split_file.is_file():
        raise UserError(f"no split file {options.split_file}")
    row = backbones.find(options.model)
    if min(options.image_size) < row.min_size:
        h, w = options.image_size
        raise UserError(
            f"{row.name} needs images of {row.min_size} pixels or more, not {h}x{w}: pass --image_size {row.min_size + -row.min_size % 32}"
        )
    weights.locate(row, options.weights, options.offline)
    if options.device == "cuda" and not _nvidia_driver():
        raise UserError("--device cuda: no NVIDIA driver on this machine; drop it to use the CPU")
    folder = options.data_dir
    if not (dataset.bundled or options.download or (folder.is_dir() and any(folder.iterdir()))):
        fetched = ", --download fetches it" if any(file.mirrors for file in dataset.sources) else ""
        raise UserError(
            f"no data in {folder} ({'empty' if folder.is_dir() else 'not there'}): {dataset.get}; "
            f"--data_dir names another place{fetched}"
        )
    stamp = time.strftime("%Y%m%d-%H%M%S")
    out = options.out or Path("runs") / f"{dataset.name}-{row.name.replace(':', '_')}-s{options.seed}-{stamp}"
    if out.exists():
        raise UserError(f"run folder {out} exists already: name another with --out, or move it away")
    asked = {**vars(options), "out": out}
    del asked["download"]  # how the data came does not change a result
    return Run(dataset=dataset, **asked)


def _run(asked: Run, download: bool) -> str | None:
    from tqdm import tqdm

    if download:
        from .data.fetch import fetch

        fetch(asked.dataset, asked.data_dir, asked.offline)

    from .run import run

    result = run(asked, lambda record: tqdm.write(_told(asked, record), file=sys.stderr))
    return result and result_line(result, asked.out)


def _told(asked: Run, record: dict[str, Any]) -> str:
    """One line at the start of a run, one per epoch."""
    if "epoch" in record:
        return (
            f"epoch {record['epoch']:3}: loss {record['train_loss']:.3f}, validation top1 "
            f"{100 * record['val_top1']:.2f} %, nll {record['val_nll']:.3f}; {record['train_seconds']:.0f} s, "
            f"{record['train_images_per_second']:.0f} img/s"
        )
    split, (height, width) = record["split"], record["preprocess"]["size"]
    return (
        f"{asked.dataset.title}: {split['train']:,} train, {split['val']:,} validation, {split['test']:,} test images "
        f"of {record['classes']} classes at {height}x{width}; {record['backbone']} from {record['weights']}, "
        f"{record['parameters'] / 1e6:.1f} M parameters, {record['precision']} on {record['device']} -> {asked.out}"
    )


def result_line(result: dict[str, Any], out: Path) -> str:
    """One line: dataset, backbone, headline metric with its interval, how chosen, cost, where."""
    metric, split, cost = result["test"][result["metric"]], result["split"], result["cost"]
    low, high = (f"{100 * x:.2f}" for x in metric["interval"])
    limits = {
        f"fold {result['fold']}": result["fold"],
        "subset": result["subset"],
        f"{result['shots']} shots": result["shots"],
        f"{result['fraction']} of train": result["fraction"],
        "split from a file": result["split_file"],
    }
    told = ", ".join(text for text, there in limits.items() if there)
    dataset = result["dataset"] + (f" ({told})" if told else "")
    start = {"none": "from scratch"}.get(result["weights"], "fine-tuned")
    return (
        f"{dataset} {result['backbone']} {start}: {result['metric']} {100 * metric['value']:.2f} % [{low}, {high}] "
        f"on {split['test']:,} test images; epoch {result['best']['epoch']} of {sum(p['epochs'] for p in result['recipe']['phases'])} "
        f"chosen on {split['val']:,} {result['chosen_on']} images; {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['macs'] / 1e9:.2f} GMACs, {cost['train_images_per_second']:.0f} img/s, {cost['train_seconds']:.0f} s -> {out}"
    )


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is no size: expected 224 or 448x672 (height x width)")
    return int(sides[0]), int(sides[-1])


def _nvidia_driver() -> bool:
    """Whether a CUDA driver answers, asked without torch."""
    try:
        return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False
