"""Options shared by several commands, with their value types."""

import argparse
import math
from functools import partial
from pathlib import Path

from ..data.readers.table_rows import TableColumns
from ..errors import UserError
from ..spec import Dataset, Reader

SECONDS = {"s": 1, "m": 60, "h": 3600}


# fmt: off
def add_device(group: argparse._ActionsContainer) -> None:
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                       help="default: the GPU if there is one")
    group.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), default="auto",
                       help="of forward pass and loss (default: a fast one for the device)")


def add_image_filters(group: argparse._ActionsContainer) -> None:
    group.add_argument("--subset", action="store_true",
                       help="accept other image counts than the data sheet's, and leave out listed images that are missing")
    group.add_argument("--skip_bad", action="store_true",
                       help="leave out unreadable images; the result counts them")


def add_pixels(group: argparse._ActionsContainer) -> None:
    group.add_argument("--value_range", type=float, nargs=2, metavar=("LOW", "HIGH"),
                       help="values that become black and white, for images with more than 8 bits (default: estimated outside test)")
    group.add_argument("--bands", type=int, nargs=3, metavar=("R", "G", "B"),
                       help="bands used as red, green and blue, for images with more than three; the first is 1")


def add_labels(group: argparse._ActionsContainer) -> None:
    group.add_argument("--labels", type=Path, metavar="FILE",
                       help="a table with a row per image (CSV, TSV, semicolons or JSON lines), instead of class folders")
    for kind, use in (("image", "the image's path"), ("label", "its class"), ("split", "its part"), ("group", "its group, kept in one part")):
        group.add_argument(f"--{kind}_column", metavar="NAME", help=f"the table's column with {use} (default: by its usual names)")
    group.add_argument("--min_images", type=int, metavar="N", help="leave out classes with fewer images; the result lists them")


def add_groups(group: argparse._ActionsContainer, default: str | None, shown: str = "the data sheet's groups") -> None:
    group.add_argument("--group_by", default=default, metavar="REGEX|auto|none",
                       help="keep images in one part if CLASS/NAME has the same first capture group, or match; auto: groups that a probe finds; "
                            f"none: only copies (default: {default or shown})")


def add_offline(group: argparse._ActionsContainer) -> None:
    group.add_argument("--offline", action="store_true", help="no network access")
# fmt: on


def check_pixels(options: argparse.Namespace) -> None:
    """Make tuples of `--value_range` and `--bands`. Raises: UserError: an empty range, or a band below 1."""
    if options.value_range:
        low, high = options.value_range = tuple(options.value_range)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise UserError(f"--value_range {low:g} {high:g}: expected LOW below HIGH, such as 0 4095")
    if options.bands:
        options.bands = tuple(options.bands)
        if min(options.bands) < 1:
            raise UserError(f"--bands {' '.join(map(str, options.bands))}: expected numbers from 1, such as 4 3 2")


def bind_labels(load: Reader, options: argparse.Namespace) -> Reader:
    """The reader of a user's folder with the options of `add_labels`.

    Raises:
        UserError: a minimum below 1.
    """
    if options.min_images is not None and options.min_images < 1:
        raise UserError(f"--min_images {options.min_images}: expected 1 or more")
    names = {kind: getattr(options, f"{kind}_column") for kind in ("image", "label", "split", "group")}
    columns = TableColumns(**names) if any(names.values()) else None
    given = {"labels": options.labels, "columns": columns, "min_images": options.min_images}
    given = {name: value for name, value in given.items() if value is not None}
    return partial(load, **given) if given else load


def bind_groups(load: Reader, options: argparse.Namespace) -> Reader:
    """The reader with `--group_by` of `options`, which may also have pixel, cache and offline options."""
    if options.group_by is None:
        return load
    from ..run.groups import GroupConfig, read_grouped

    config = GroupConfig(
        by=options.group_by,
        value_range=getattr(options, "value_range", None),
        bands=getattr(options, "bands", None),
        offline=getattr(options, "offline", False),
        cache=not getattr(options, "no_cache", False),
        split_file=bool(getattr(options, "split_file", None)),
    )
    return partial(read_grouped, load=load, config=config)


def label_arguments(options: argparse.Namespace) -> list[str]:
    """The options of `add_labels` that are set, as arguments of another command."""
    names = ("labels", "image_column", "label_column", "split_column", "group_column", "min_images")
    return [f"--{name}={value}" for name in names if (value := getattr(options, name)) is not None]


def check_labels(sheet: Dataset, options: argparse.Namespace) -> None:
    """Raises: UserError: options of `add_labels` for a data sheet that has its own labels."""
    if sheet.classes is not None and (given := label_arguments(options)):
        raise UserError(f"{given[0]}: {sheet.title} has its own labels; drop it")


def learning_rate(text: str) -> float | str:
    if text == "auto":
        return text
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive learning rate, such as 1e-3, or auto")
    return value


def image_size(text: str) -> tuple[int, int]:
    """(height, width) in pixels."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: expected 224 or 448x672 (height x width)")
    return int(sides[0]), int(sides[-1])


def image_sizes(text: str) -> list[tuple[int, int]]:
    """One or several sizes, separated by commas."""
    return [image_size(size) for size in text.split(",")]


def duration(text: str) -> float:
    """Seconds, from a number with or without a unit."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in SECONDS else (text, "s")
    try:
        if 0 < (value := float(number) * SECONDS[unit]) < math.inf:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is not a duration: expected 90s, 10m or 2h")


def threshold(text: str) -> tuple[float | None, float | None]:
    """(probability, None), or (None, recall) of `recall=R`."""
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name not in ("", "recall") or not 0 < value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a threshold: expected a probability such as 0.3, or recall=0.95"
        )
    return (None, value) if name else (value, None)
