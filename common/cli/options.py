"""The options of a data sheet's script."""

import argparse
from pathlib import Path

from ..errors import Parser
from ..run.trackers import TRACKERS
from ..spec import Dataset
from ..training.recipes import AUGMENTS
from .arguments import (
    add_device,
    add_groups,
    add_image_filters,
    add_labels,
    add_offline,
    add_pixels,
    image_size,
    learning_rate,
)

DEFAULT_MODEL = "efficientnet_lite0"


def build_parser(dataset: Dataset, *variants: Dataset) -> Parser:
    """The parser of a script; `variants` are the further datasets of a script with several."""
    parser = Parser(
        prog=f"{dataset.script}.py",
        description=f"Fine-tune a backbone on {'your folder' if dataset.name == 'folder' else dataset.title}, select the epoch on validation data, evaluate once on test.",
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=32, width=110),
        allow_abbrev=False,
    )
    parser.set_defaults(data_dir=None, download=False, fold=None, split="clean", changes=())
    _add_model(parser.add_argument_group("model"), dataset)
    data = parser.add_argument_group("data")
    _add_source(data, dataset, variants)
    add_image_filters(data)
    data.add_argument(
        "--drop_conflicts", action="store_true", help="leave out all copies of pictures that are under several labels"
    )
    add_pixels(data)
    _add_split(data, dataset)
    training = parser.add_argument_group("training")
    _add_protocol(training)
    _add_recipe(training)
    machine = parser.add_argument_group("device and output")
    _add_speed(machine)
    add_offline(machine)
    _add_output(machine)
    return parser


# fmt: off
def _add_model(group: argparse._ArgumentGroup, dataset: Dataset) -> None:
    height, width = dataset.image_size
    group.add_argument("-model", "--model", default=DEFAULT_MODEL, metavar="NAME",
                       help="a backbone of `python -m common list`, any timm:NAME or torchvision:NAME; NAME=FILE takes its weights from a file (default: %(default)s)")
    group.add_argument("--weights", metavar="imagenet|none|FILE",
                       help="initial weights: ImageNet, random, or a .safetensors or .pth file (default: the protocol's)")
    group.add_argument("--image_size", type=image_size, metavar="S|HxW",
                       help=f"input size in pixels (default: {height}x{width}; from scratch, the stored size)")


def _add_source(group: argparse._ArgumentGroup, dataset: Dataset, variants: tuple[Dataset, ...]) -> None:
    if not dataset.bundled:
        group.add_argument("--data_dir", type=Path, default=Path("data") / dataset.script, metavar="DIR",
                           help=f"data folder (default: %(default)s); {dataset.get}")
    if dataset.classes is None:
        add_labels(group)
    if dataset.sources:
        group.add_argument("--download", action="store_true", help="download the dataset if it is missing")
    if dataset.variant:
        option, first = dataset.variant
        values = [sheet.variant[1] for sheet in (dataset, *variants)]
        group.add_argument(f"--{option}", choices=values, default=first, help="default: %(default)s")
    group.add_argument("--no_cache", action="store_true",
                       help="decode the images into memory and cache nothing on disk")


def _add_split(group: argparse._ArgumentGroup, dataset: Dataset) -> None:
    if dataset.folds:
        group.add_argument("--fold", type=int, default=dataset.fold, metavar="N",
                           help=f"one of the {dataset.folds} official folds (default: {dataset.fold or 'none, our own split'})")
    split = group.add_mutually_exclusive_group()
    if dataset.paper:
        split.add_argument("--split", choices=("clean", "paper"), default="clean",
                           help="clean: the data sheet's; paper: that of arXiv 2406.05612 (default: %(default)s)")
    split.add_argument("--split_file", type=Path, metavar="FILE",
                       help="CSV with columns path,label,part, such as a run's split.csv (default: the data sheet's split)")
    add_groups(group, default="auto" if dataset.classes is None else None)
    train_size = group.add_mutually_exclusive_group()
    train_size.add_argument("--shots", type=int, metavar="K",
                            help="train on K images per class; validation shrinks in proportion")
    train_size.add_argument("--fraction", type=float, metavar="F",
                            help="train on this fraction of the images; validation shrinks in proportion")


def _add_protocol(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--protocol", choices=("clean", "paper", "scratch", "probe"), default="clean",
                       help="clean, paper: fine-tune ImageNet weights with our recipe or that of arXiv 2406.05612, which selects on test; "
                            "scratch: 64,000 steps from random weights, usual on CIFAR; probe: linear probe on frozen features "
                            "(default: %(default)s)")
    group.add_argument("-bs", "--batch_size", type=int, metavar="N",
                       help="images per step (probe: per forward pass); halve it if memory runs out (default: 32; "
                            "from scratch 256, or 512 for networks with attention)")
    group.add_argument("--micro_bs", type=int, metavar="N",
                       help="images per forward pass: gradients accumulate over -bs; batch statistics are of N (default: -bs)")
    length = group.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, metavar="N",
                        help="default: 10, and at least 500 steps on a small dataset; paper: maximum of each phase")
    length.add_argument("--steps", type=int, metavar="N", help="length in steps instead of epochs")
    group.add_argument("--eval_every", type=int, metavar="N",
                       help="steps between evaluations (default: an epoch; from scratch 1,000)")


def _add_recipe(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--optimizer", choices=("adamw", "adam", "sgd"),
                       help="sgd has a momentum of 0.9 (default: the recipe's)")
    group.add_argument("--lr", type=learning_rate, metavar="X|auto",
                       help="peak learning rate; auto: the one of up to four that fits validation best after a few steps "
                            "(default: the one measured for the network, else auto)")
    group.add_argument("--no_search", action="store_true",
                       help="do not search where no rate was measured: use the usual one of its kind")
    group.add_argument("--weight_decay", type=float, metavar="X", help="default: the recipe's")
    group.add_argument("--layer_decay", type=float, metavar="X",
                       help="learning rate of a layer, as a fraction of the next one's (default: 1)")
    group.add_argument("--label_smoothing", type=float, metavar="X", help="default: the recipe's")
    group.add_argument("--mixup_alpha", type=float, metavar="X", help="mix pairs of images, weights from Beta(X, X) (default: 0, off)")
    group.add_argument("--ema_decay", type=float, metavar="X",
                       help="evaluate and select an exponential moving average of the weights (default: 0, off)")
    group.add_argument("--head_start", choices=("random", "probe"),
                       help="initial head: random, or a linear probe of the frozen features (default: probe for pretrained weights)")
    group.add_argument("--batch_norm", choices=("batch", "pretrained"),
                       help="statistics in training: those of the batch, or the pretrained ones, unchanged (default: pretrained for pretrained weights)")
    group.add_argument("--class_weights", action="store_true",
                       help="weight the loss by inverse class frequency")
    group.add_argument("--balanced_sampling", action="store_true",
                       help="sample all classes equally often, with replacement")
    group.add_argument("--augment", choices=("sheet", *AUGMENTS),
                       help="data augmentation: the data sheet's, none, TrivialAugmentWide, CIFAR's, or random crops, mirrored (flip) or with all "
                            "symmetries of the square (dihedral), for aerial images and microscopy (default: the data sheet's; from scratch CIFAR's)")
    group.add_argument("--crop_pct", type=float, metavar="X",
                       help="center crop in evaluation, as a fraction of both sides; images are decoded larger by its margins "
                            "(default: the mean side of training's crops: 0.875, 0.925 or 1)")
    group.add_argument("--seed", type=int, default=0, metavar="N",
                       help="seed of validation split, order, augmentation, random weights and bootstrap (default: %(default)s)")


def _add_speed(group: argparse._ArgumentGroup) -> None:
    add_device(group)
    faster = group.add_mutually_exclusive_group()
    faster.add_argument("--compile", action="store_true",
                        help="torch.compile the network: minutes to start, then faster")
    faster.add_argument("--tune", action="store_true",
                        help="time precisions, memory formats and compilation, and use the fastest; cached for this machine")


def _add_output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--save_every", type=int, metavar="N",
                       help="steps between checkpoints (default: an epoch; from scratch 5,000)")
    start = group.add_mutually_exclusive_group()
    start.add_argument("--resume", type=Path, metavar="RUN_FOLDER",
                       help="continue an interrupted run; RUN_FOLDER/best: from its best weights so far")
    start.add_argument("--config", type=Path, metavar="FILE",
                       help="read options from a YAML or TOML file, such as a run's options.yaml")
    group.add_argument("--track", choices=TRACKERS,
                       help="also log to MLflow or Weights & Biases, or the hyperparameters to TensorBoard (default: none)")
    group.add_argument("--out", type=Path, metavar="DIR",
                       help="new run folder (default: runs/DATASET-MODEL-sSEED-TIME)")
