"""The options of a data sheet's script."""

import argparse
from pathlib import Path

from ..errors import Parser
from ..spec import Dataset
from ..training.recipes import AUGMENTS

DEFAULT_MODEL = "efficientnet_lite0"
UNITS = {"s": 1, "m": 60, "h": 3600}  # of seconds


def parser(dataset: Dataset, *variants: Dataset) -> Parser:
    height, width = dataset.image_size
    p = Parser(
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
        metavar="imagenet|none|FILE",
        help="initial weights: ImageNet, random, or a .safetensors or .pth file (default: the protocol's)",
    )
    what.add_argument(
        "--image_size",
        type=size,
        metavar="S|HxW",
        help=f"input size in pixels (default: {height}x{width}; from scratch, the stored size)",
    )
    data = p.add_argument_group("the data")
    p.set_defaults(data_dir=None, download=False, fold=None, split="clean", changes=())
    if not dataset.bundled:
        data.add_argument(
            "--data_dir",
            type=Path,
            default=Path("data") / dataset.script,
            metavar="DIR",
            help=f"data folder (default: %(default)s); {dataset.get}",
        )
    if dataset.sources:
        data.add_argument("--download", action="store_true", help="fetch it when it is not there")
    if dataset.variant:
        option, first = dataset.variant
        values = [sheet.variant[1] for sheet in (dataset, *variants)]
        data.add_argument(f"--{option}", choices=values, default=first, help="default: %(default)s")
    if dataset.folds:
        data.add_argument(
            "--fold",
            type=int,
            default=dataset.fold,
            metavar="N",
            help=f"which of the {dataset.folds} official folds (default: {dataset.fold or 'none, a split of ours'})",
        )
    data.add_argument(
        "--subset", action="store_true", help="accept counts other than the sheet's; the result says so"
    )
    data.add_argument(
        "--skip_bad", action="store_true", help="leave out images that cannot be read; the result counts them"
    )
    data.add_argument(
        "--no_cache",
        action="store_true",
        help="decode the images into memory, keep nothing for the next run",
    )
    whose = data.add_mutually_exclusive_group()
    if dataset.paper:
        whose.add_argument(
            "--split",
            choices=("clean", "paper"),
            default="clean",
            help="clean: the data sheet's; paper: that of arXiv 2406.05612 (default: %(default)s)",
        )
    whose.add_argument(
        "--split_file",
        type=Path,
        metavar="FILE",
        help="CSV of path,label,part per image to use, such as a run's split.csv (default: the data sheet's split)",
    )
    few = data.add_mutually_exclusive_group()
    few.add_argument(
        "--shots", type=int, metavar="K", help="train on K images per class; validation shrinks in proportion"
    )
    few.add_argument(
        "--fraction",
        type=float,
        metavar="F",
        help="train on this fraction of the images; validation shrinks in proportion",
    )
    how = p.add_argument_group("how to train")
    how.add_argument(
        "--protocol",
        choices=("clean", "paper", "scratch", "probe"),
        default="clean",
        help="clean, paper: fine-tune ImageNet weights, our way or as arXiv 2406.05612, which selects on test; scratch: "
        "64,000 steps from random weights, usual on CIFAR; probe: linear probe on frozen features (default: %(default)s)",
    )
    how.add_argument(
        "-bs",
        "--batch_size",
        type=int,
        metavar="N",
        help="images per step (probe: per forward pass); halve it if memory runs out (default: 32; "
        "from scratch 256, or 512 for networks with attention)",
    )
    how.add_argument(
        "--micro_bs",
        type=int,
        metavar="N",
        help="images per forward pass: gradients accumulate over -bs, batch norm sees N (default: -bs)",
    )
    length = how.add_mutually_exclusive_group()
    length.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="default: 10, or more on a small set, for 500 steps at least; paper: of each phase, at most",
    )
    length.add_argument("--steps", type=int, metavar="N", help="instead of epochs")
    how.add_argument(
        "--optimizer",
        choices=("adamw", "adam", "sgd"),
        help="sgd has a momentum of 0.9 (default: the recipe's)",
    )
    how.add_argument(
        "--lr",
        type=rate,
        metavar="X|auto",
        help="peak learning rate; auto: the best of five on validation, at the cost of one extra run (default: the recipe's)",
    )
    how.add_argument("--weight_decay", type=float, metavar="X", help="default: the recipe's")
    how.add_argument(
        "--class_weights",
        action="store_true",
        help="weight classes in the loss by their inverse frequency",
    )
    how.add_argument(
        "--balanced_sampling",
        action="store_true",
        help="draw every class as often as any other, with replacement",
    )
    how.add_argument(
        "--eval_every",
        type=int,
        metavar="N",
        help="steps between evaluations (default: an epoch; from scratch 1,000)",
    )
    how.add_argument(
        "--augment",
        choices=("sheet", *AUGMENTS),
        help="data augmentation: the sheet's, none, TrivialAugmentWide, or CIFAR's (default: the sheet's; from "
        "scratch CIFAR's)",
    )
    how.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of validation split, order, augmentation, random weights and bootstrap (default: %(default)s)",
    )
    where = p.add_argument_group("device and output")
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
        help="of the forward pass and the loss (default: a fast one for this device)",
    )
    faster = where.add_mutually_exclusive_group()
    faster.add_argument(
        "--compile", action="store_true", help="compile the network: slow to start (minutes), then faster"
    )
    faster.add_argument(
        "--tune",
        action="store_true",
        help="time precisions, memory formats and compilation, and use the fastest; cached for this machine",
    )
    where.add_argument(
        "--save_every",
        type=int,
        metavar="N",
        help="steps between checkpoints (default: an epoch; from scratch 5,000)",
    )
    start = where.add_mutually_exclusive_group()
    start.add_argument(
        "--resume",
        type=Path,
        metavar="RUN_FOLDER",
        help="continue an interrupted run; RUN_FOLDER/best: from the best weights so far",
    )
    start.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="options from a YAML or TOML file, such as a run's options.yaml",
    )
    where.add_argument("--offline", action="store_true", help="open no network connection")
    where.add_argument(
        "--out", type=Path, metavar="DIR", help="new run folder (default: runs/DATASET-MODEL-sSEED-TIME)"
    )
    return p


def rate(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive learning rate, such as 1e-3, or auto")
    return value


def size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: expected 224 or 448x672 (height x width)")
    return int(sides[0]), int(sides[-1])


def seconds(text: str) -> float:
    number, unit = (text[:-1], text[-1]) if text[-1:] in UNITS else (text, "s")
    try:
        if (found := float(number) * UNITS[unit]) > 0:
            return found
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a duration: expected 90s, 10m or 2h")
