"""Class folders -> train/, [val/,] test/ of the same images, or the split as a list."""

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...errors import UserError
from ...files.atomic import atomic_write
from ...spec import PARTS, Samples, Split
from .. import readers
from . import split_file, splits


def split_folders(
    source: Path,
    target: Path,
    *,
    test: float,
    val: float | None = None,
    seed: int = 42,
    group_by: str | None = None,
    how: Literal["copy", "hard", "symbolic", "list"] = "copy",
) -> str:
    """Split the class folders in `source` and write `target`, new; returns what was done, in a line or two.

    Of every class of n images test gets `ceil(test * n)` and val `ceil(val * n)`, by the rule and the draw of
    `splits`. `target` becomes a folder of copies or links, `<part>/<class>/...` with all that stands below a class
    folder kept in its place, or with "list" a text file. Files that are no images are left out and named.

    Raises:
        UserError: something that the user can fix; nothing has been written then.
    """
    samples = _read(source, target, group_by)
    split = _split(samples, test, val, seed)
    with atomic_write(target, "--list" if how == "list" else "--output_dir") as part:
        if how == "list":
            part.parent.mkdir(parents=True, exist_ok=True)
            split_file.write(part, samples, split)
        else:
            _fill(part, samples, split, how)
    counts = ", ".join(f"{len(getattr(split, p)):,} {p}" for p in PARTS if getattr(split, p))
    done = f"{len(samples):,} images of {len(samples.classes)} classes: {counts} -> {target}"
    if others := _other_files(source, samples):
        first = ", ".join(others[:3]) + (", ..." if len(others) > 3 else "")
        done += f"\nskipped, no image suffix: {len(others):,} files ({first})"
    return done


def _read(source: Path, target: Path, group_by: str | None) -> Samples:
    if not source.is_dir():
        raise UserError(f"no folder {source}: expected one with a folder of images per class")
    if os.path.lexists(target):
        raise UserError(f"{target} exists already: name another place, or move it away")
    if target.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"{target} lies in {source}, where it would be a class of its own: name another place"
        )
    samples = readers.class_folders(source, None)
    if samples.parts:
        raise UserError(f"{source} is split already: it holds {' and '.join(sorted(set(samples.parts)))}/")
    return replace(samples, groups=groups_by(samples.names, group_by)) if group_by else samples


def groups_by(names: Sequence[str], pattern: str) -> list[str]:
    """The first capture of `pattern` in every name, or its whole match.

    Raises:
        UserError: no regular expression, or one that a name does not match.
    """
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise UserError(f"not a valid regular expression: '{pattern}' ({error})") from None
    groups = [match and (match[1] if match.re.groups else match[0]) for match in found]
    if None in groups:
        raise UserError(f"no group for {names[groups.index(None)]!r}: '{pattern}' does not match")
    return groups


def _split(samples: Samples, test: float, val: float | None, seed: int) -> Split:
    for name, value in (("test", test), ("val", val)):
        if value is not None and not 0 < value < 1:
            raise UserError(f"--{name}_size {value}: expected a fraction between 0 and 1, such as 0.2")
    if test + (val or 0) >= 1:
        raise UserError(f"--test_size {test} and --val_size {val}: nothing would be left to train on")
    names, labels, groups = samples.names, samples.labels, samples.groups
    parts = ["train"] * len(samples)
    for i in splits.holdout(names, labels, groups, test, seed, "test"):
        parts[i] = "test"
    if val:
        rest = [i for i, part in enumerate(parts) if part == "train"]
        drawn = splits.sample_units(
            [names[i] for i in rest],
            [labels[i] for i in rest],
            groups and [groups[i] for i in rest],
            splits.class_counts(labels, val),
            seed,
            "val",
        )
        for j in drawn:
            parts[rest[j]] = "val"
    members = {p: tuple(i for i, part in enumerate(parts) if part == p) for p in PARTS}
    splits.check_classes(samples, {p: members[p] for p in PARTS if p != "val" or val})
    return Split(**members, fingerprint=splits.fingerprint(samples, parts))


def _fill(folder: Path, samples: Samples, split: Split, how: str) -> None:
    """Copy or link every image to `folder/<part>/<name>`."""
    from tqdm import tqdm

    put: Callable[[str, Path], object] = {"copy": shutil.copy2, "hard": os.link, "symbolic": os.symlink}[how]
    jobs = [(i, part) for part in PARTS for i in getattr(split, part)]
    made: set[Path] = set()
    for i, part in tqdm(jobs, how, unit="img", leave=False, disable=None):
        path = folder / part / samples.names[i]
        try:
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True)
                made.add(path.parent)
            put(os.path.realpath(samples.images[i]), path)  # a link to the picture, not to another link
        except OSError as error:
            verb = "copy" if how == "copy" else "link"
            raise UserError(
                f"cannot {verb} {samples.images[i]} to {folder.parent} ({error.strerror}); nothing was written"
            ) from None


def _other_files(source: Path, samples: Samples) -> list[str]:
    """Whatever lies in `source` that no sample is, a stray picture beside the class folders too."""
    known = set(samples.names)
    found = (
        Path(folder, name).relative_to(source).as_posix()
        for folder, _, names in os.walk(source, followlinks=True)
        for name in names
    )
    return sorted(name for name in found if name not in known)
