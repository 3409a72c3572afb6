"""Write a split of images in class folders as train/, [val/,] test/, or as a list."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...errors import UserError
from ...files.atomic import atomic_write
from ...spec import PARTS, Reader, Samples, Split
from ..readers.layout import format_layout
from ..readers.unpacked import data_folder
from . import requirements, split_file, splits


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """How to split, and what to write."""

    test: float
    val: float | None = None
    seed: int = 42
    output: Literal["copy", "hard", "symbolic", "list"] = "copy"


def split_folders(source: Path, target: Path, load: Reader, config: ExportConfig) -> str:
    """Split the images that `load` finds in `source` into a new `target`; returns a summary.

    Of every class of n images test gets `ceil(test * n)` and val `ceil(val * n)`, with the seeded draw of `splits`.
    `target` becomes a folder of copies or links, `<part>/<class>/...` with the paths below each class folder unchanged,
    or with "list" a CSV file.

    Raises:
        UserError: something that the user can fix; nothing is written.
    """
    samples = _read(source, target, load)
    split = _split(samples, config)
    with atomic_write(target, "--list" if config.output == "list" else "--output_dir") as part:
        if config.output == "list":
            part.parent.mkdir(parents=True, exist_ok=True)
            split_file.write(part, samples, split)
        else:
            _fill(part, samples, split, config.output)
    counts = ", ".join(f"{len(getattr(split, p)):,} {p}" for p in PARTS if getattr(split, p))
    written = f"{len(samples):,} images of {len(samples.classes)} classes: {counts} -> {target}"
    return "\n".join(["; ".join(format_layout(samples)), *split.caveats, written])


def _read(source: Path, target: Path, load: Reader) -> Samples:
    if not os.path.exists(source):
        raise UserError(f"no folder {source}: expected one with a folder of images per class")
    if os.path.lexists(target):
        raise UserError(f"{target} exists already: choose another path, or move it away")
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{target} is in {source}, where it would be another class folder: choose another path")
    samples = load(data_folder(source), None)
    if samples.missing:
        raise UserError(f"{len(samples.missing)} listed images are not in {source}, the first is {samples.missing[0]}")
    if samples.parts:
        raise UserError(f"{source} is split already: {format_layout(samples)[0]}")
    return samples


def _split(samples: Samples, config: ExportConfig) -> Split:
    test, val = config.test, config.val
    for name, value in (("test", test), ("val", val)):
        if value is not None and not 0 < value < 1:
            raise UserError(f"--{name}_size {value}: expected a fraction between 0 and 1, such as 0.2")
    if test + (val or 0) >= 1:
        raise UserError(f"--test_size {test} and --val_size {val}: nothing would be left to train on")
    names, labels, groups = samples.names, samples.labels, samples.groups
    parts = ["train"] * len(samples)
    for i in splits.holdout(names, labels, groups, test, config.seed, "test"):
        parts[i] = "test"
    if val:
        train = [i for i, part in enumerate(parts) if part == "train"]
        left = Counter(labels[i] for i in train)
        wanted = {label: min(n, left[label] - 1) for label, n in splits.class_counts(labels, val).items()}
        drawn = splits.sample_units(
            [names[i] for i in train],
            [labels[i] for i in train],
            groups and [groups[i] for i in train],
            wanted,
            config.seed,
            "val",
        )
        for j in drawn:
            parts[train[j]] = "val"
    members = {p: tuple(i for i, part in enumerate(parts) if part == p) for p in PARTS}
    checked = {p: members[p] for p in PARTS if p != "val" or val}
    caveats = requirements.check_classes(samples, checked, required=("train", "test"))
    return Split(**members, fingerprint=splits.fingerprint(samples, parts), caveats=caveats)


def _fill(folder: Path, samples: Samples, split: Split, output: str) -> None:
    """Copy or link every image to `folder/<part>/<class>/...`."""
    from tqdm import tqdm

    copy: Callable[[str, Path], object] = {"copy": shutil.copy2, "hard": os.link, "symbolic": os.symlink}[output]
    created: set[Path] = set()
    for name, i in tqdm(_targets(samples, split).items(), output, unit="img", leave=False, disable=None):
        path = folder / name
        try:
            if path.parent not in created:
                path.parent.mkdir(parents=True, exist_ok=True)
                created.add(path.parent)
            copy(os.path.realpath(samples.images[i]), path)  # the target of a link, not the link
        except OSError as error:
            verb = "copy" if output == "copy" else "link"
            raise UserError(
                f"cannot {verb} {samples.images[i]} to {folder.parent} ({error.strerror}); nothing was written"
            ) from None


def _targets(samples: Samples, split: Split) -> dict[str, int]:
    """{`<part>/<class>/...`: position} of the images to write.

    Raises:
        UserError: a class cannot be a folder, or two images have the same target.
    """
    folders = Counter(map(_class_folder, samples.classes))
    if bad := [name for name in samples.classes if name in (".", "..") or folders[_class_folder(name)] > 1]:
        raise UserError(f"class {bad[0]!r} cannot be a folder of its own: rename it, or write a --list")
    targets: dict[str, int] = {}
    for part in PARTS:
        for i in getattr(split, part):
            name = f"{part}/{_below_class(samples.names[i], samples.classes[samples.labels[i]])}"
            if (other := targets.setdefault(name, i)) != i:
                raise UserError(
                    f"{samples.names[other]} and {samples.names[i]} would both become {name}: rename one, or write a --list"
                )
    return targets


def _below_class(name: str, label: str) -> str:
    """`<class>/...`: the end of the name from the class folder on, or the name of a table's image in a new one."""
    _, slash, rest = f"/{name}".partition(f"/{label}/")
    return f"{label}/{rest}" if slash else f"{_class_folder(label)}/{name}"


def _class_folder(label: str) -> str:
    return label.replace("/", "_")
