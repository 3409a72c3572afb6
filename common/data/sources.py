"""What lies on the disk -> `Samples`: one reader per kind of layout.

Every reader takes the data folder and the sheet's classes (None: whatever the user has) and returns all
labelled images with their official parts, undecoded. Heavy libraries are imported where they are needed.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import UserError
from ..spec import PARTS, Samples

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm"})


def locate(root: Path, score: Callable[[Path], int], depth: int = 3) -> Path | None:
    """The folder at or below `root` with the highest positive score; archives unpack to various depths."""
    best, best_score, level = None, 0, [root]
    for _ in range(depth + 1):
        for folder in level:
            if (found := score(folder)) > best_score:
                best, best_score = folder, found
        if best:
            return best
        level = [Path(entry) for folder in level for entry in subfolders(folder)]
    return best


def subfolders(folder: Path) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted((e for e in entries if e.is_dir() and not e.name.startswith(".")), key=lambda e: e.name)


def image_files(folder: str | Path, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(path, posix name relative to `folder`) of every image below it, in no particular order."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from image_files(entry.path, f"{prefix}{entry.name}/")
            elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
                yield entry.path, prefix + entry.name


def class_folders(root: Path, classes: tuple[str, ...] | None) -> Samples:
    """`<class>/*` or `{train,val,test}/<class>/*`, images at any depth below the class folder.

    With known `classes` the folder that holds them is searched below `root`; else `root` is taken as it is.
    """
    base = root
    if classes:
        base = locate(root, lambda folder: sum(e.name in classes for e in subfolders(folder)))
        if base is None:
            raise UserError(
                f"no class folder found in {root}: expected {', '.join(classes[:3])} ... ({len(classes)} in all)"
            )
    parts = [p for p in PARTS if (base / p).is_dir()] if not classes else []
    if parts and not {"train", "test"} <= set(parts):
        raise UserError(
            f"{base} holds {' and '.join(parts)}/: expected train/ and test/ (and val/), or class folders alone"
        )
    if parts and (extra := [e.name for e in subfolders(base) if e.name not in PARTS]):
        raise UserError(
            f"{base} mixes {', '.join(parts)}/ with other folders ({', '.join(extra[:3])}): move these away"
        )

    rows: list[tuple[str, str, str, str]] = []  # (name, path, class, part)
    for part in parts or [""]:
        for entry in subfolders(base / part):
            before = len(rows)
            rows += [
                (name, path, entry.name, part)
                for path, name in image_files(entry.path, f"{part}/{entry.name}/".lstrip("/"))
            ]
            if len(rows) == before:
                raise UserError(
                    f"class folder without images: {entry.path} (remove it, or put its images in)"
                )
    if not rows:
        raise UserError(f"no class folders in {root}: expected one folder of images per class")
    rows.sort()
    classes = classes or tuple(sorted({row[2] for row in rows}))
    index = {name: i for i, name in enumerate(classes)}
    if unknown := sorted({row[2] for row in rows} - index.keys()):
        raise UserError(
            f"labels outside the sheet: class folder {unknown[0]!r} in {base} is none of the {len(classes)} classes"
        )
    if len(classes) < 2:
        raise UserError(f"a single class in {root} ({classes[0]}): expected two class folders or more")
    return Samples(
        images=[row[1] for row in rows],
        names=[row[0] for row in rows],
        labels=[index[row[2]] for row in rows],
        classes=classes,
        parts=[row[3] for row in rows] if parts else None,
    )


def cifar_batches(root: Path, classes: tuple[str, ...]) -> Samples:
    """CIFAR-10's Python batches: pickles of {data: (n, 3072) uint8 in R, G, B planes, labels: [n]}.

    They are read by a restricted unpickler (arrays, no code): a pickle may otherwise run anything.
    """
    import numpy as np

    base = locate(root, lambda folder: (folder / "test_batch").is_file())
    if base is None:
        raise UserError(
            f"no CIFAR batches in {root}: expected cifar-10-batches-py/{{data_batch_1..5,test_batch}}"
        )
    batches = [f"data_batch_{i}" for i in range(1, 6) if (base / f"data_batch_{i}").is_file()] + [
        "test_batch"
    ]
    images, names, labels, parts = [], [], [], []
    for batch in batches:
        content = _unpickle(base / batch)
        images.append(content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels += [int(label) for label in content["labels"]]
        names += [f"{batch}/{i:05d}" for i in range(len(content["labels"]))]
        parts += ["test" if batch == "test_batch" else "train"] * len(content["labels"])
    _check_labels(labels, classes, base)
    return Samples(images=np.concatenate(images), names=names, labels=labels, classes=classes, parts=parts)


def flowers_mat(root: Path, classes: tuple[str, ...]) -> Samples:
    """Oxford Flowers: `jpg/image_NNNNN.jpg`, `imagelabels.mat` (1..102), `setid.mat` (trnid, valid, tstid; 1-based)."""
    base = locate(root, lambda folder: (folder / "setid.mat").is_file())
    if base is None:
        raise UserError(f"no setid.mat in {root}: expected flowers-102/{{jpg/,imagelabels.mat,setid.mat}}")
    from scipy.io import loadmat

    try:
        all_labels = loadmat(base / "imagelabels.mat", squeeze_me=True)["labels"]
        sets = loadmat(base / "setid.mat", squeeze_me=True)
        rows = sorted(
            (int(i), part)
            for key, part in zip(("trnid", "valid", "tstid"), PARTS, strict=True)
            for i in sets[key]
        )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"cannot read imagelabels.mat and setid.mat in {base} ({error}): fetch them again"
        ) from None
    labels = [int(all_labels[i - 1]) - 1 for i, _ in rows]
    _check_labels(labels, classes, base)
    names = [f"jpg/image_{i:05d}.jpg" for i, _ in rows]
    if missing := [name for name in names if not (base / name).is_file()]:
        raise UserError(f"{len(missing)} of {len(names)} images missing in {base}, the first is {missing[0]}")
    return Samples(
        images=[str(base / name) for name in names],
        names=names,
        labels=labels,
        classes=classes,
        parts=[part for _, part in rows],
    )


def sklearn_digits(root: Path, classes: tuple[str, ...]) -> Samples:
    """The 1,797 handwritten digits (8 x 8, grey values 0..16) that scikit-learn ships; reads no data folder."""
    import numpy as np
    from sklearn.datasets import load_digits

    bundle = load_digits()
    grey = np.rint(bundle.images * (255 / 16)).astype(np.uint8)
    return Samples(
        images=np.repeat(grey[..., None], 3, axis=3),
        names=[f"digits/{i:04d}" for i in range(len(grey))],
        labels=[int(label) for label in bundle.target],
        classes=classes,
    )


def _check_labels(labels: list[int], classes: tuple[str, ...], base: Path) -> None:
    if outside := [label for label in labels if not 0 <= label < len(classes)]:
        raise UserError(f"labels outside the sheet: {outside[0]} in {base}, expected 0..{len(classes) - 1}")


def _unpickle(path: Path) -> dict:
    import pickle

    class ArraysOnly(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            arrays = module.startswith("numpy") and name in {
                "_reconstruct",
                "ndarray",
                "dtype",
                "_frombuffer",
            }
            if arrays or (module, name) == ("_codecs", "encode"):
                return super().find_class(module, name)
            raise pickle.UnpicklingError(f"refuses {module}.{name}")

    try:
        with open(path, "rb") as file:
            content = ArraysOnly(file, encoding="latin1").load()
        if len(content["data"]) != len(content["labels"]):
            raise ValueError(f"{len(content['data'])} images, {len(content['labels'])} labels")
        return content
    except (pickle.UnpicklingError, EOFError, KeyError, ValueError, IndexError) as error:
        raise UserError(f"not a CIFAR batch: {path} ({error}); fetch it again") from None
