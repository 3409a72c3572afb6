"""Read datasets whose labels are text or JSON lists beside a folder of images."""

import json
from pathlib import Path

from ...errors import UserError
from ...spec import PARTS, Classes, Samples
from .files import folder_with, image_files, listed_samples, read_lines


def tiny_imagenet(root: Path, classes: Classes) -> Samples:
    """TinyImageNet: `train/<wnid>/images/*.JPEG`, flat `val/images/` with `val_annotations.txt`; val is our test.

    Classes are sorted by WordNet id, as in ImageNet, not in the arbitrary order of `wnids.txt`; `words.txt` has their
    names. A line of `val_annotations.txt` is name, wnid, box, separated by tabs. The boxes of train
    (`<wnid>_boxes.txt`) and the unlabelled `test/` are not read.
    """
    tree = "tiny-imagenet-200/{wnids.txt,words.txt,train/,val/}"
    base = folder_with(root, ("wnids.txt", "words.txt", "val/val_annotations.txt"), tree)
    wnids = sorted(read_lines(base / "wnids.txt"))
    names = dict(line.split("\t", 1) for line in read_lines(base / "words.txt") if "\t" in line)
    if unnamed := [wnid for wnid in wnids if wnid not in names]:
        raise UserError(f"{unnamed[0]} of wnids.txt is not in words.txt in {base}: fetch them again")
    rows: list[tuple[str, str, str]] = []  # (name, wnid, part)
    for wnid in wnids:
        folder = base / "train" / wnid / "images"
        images = image_files(folder) if folder.is_dir() else []
        if not images:
            raise UserError(f"class folder without images: {folder}")
        rows += [(f"train/{wnid}/images/{name}", wnid, "train") for _, name in images]
    listed = [line.split("\t") for line in read_lines(base / "val" / "val_annotations.txt")]
    rows += [(f"val/images/{row[0]}", row[1] if len(row) > 1 else "", "test") for row in listed]
    return _samples(base, rows, tuple(wnids), tuple(f"{wnid} {names[wnid].split(',')[0]}" for wnid in wnids))


def cub_lists(root: Path, classes: Classes) -> Samples:
    """CUB-200-2011: four text files of `<id> <value>`; in `train_test_split.txt` 1 is train, 0 is test."""
    files = ("images.txt", "image_class_labels.txt", "train_test_split.txt", "classes.txt")
    base = folder_with(root, files, f"CUB_200_2011/{{images/,{','.join(files)}}}")
    try:
        names, labels, train, of_class = (dict(map(str.split, read_lines(base / file))) for file in files)
        rows = [
            (f"images/{name}", of_class[labels[i]], {"1": "train", "0": "test"}[train[i]]) for i, name in names.items()
        ]
    except (KeyError, ValueError) as error:
        raise UserError(f"the four lists in {base} do not agree ({error}): fetch them again") from None
    return _samples(base, rows, tuple(sorted(of_class.values())))


def food_json(root: Path, classes: Classes) -> Samples:
    """Food-101: `meta/{train,test}.json` of {class: ["class/id", ...]}, `images/<class>/<id>.jpg`.

    The lists beside them (.txt) are not read.
    """
    base = folder_with(root, ("meta/train.json", "meta/test.json"), "food-101/{images/,meta/}")
    rows = []
    for part in ("train", "test"):
        path = base / "meta" / f"{part}.json"
        try:
            lists = json.loads(path.read_text("utf-8"))
            rows += [(f"images/{name}.jpg", label, part) for label, names in lists.items() for name in names]
        except (ValueError, AttributeError, TypeError) as error:
            raise UserError(f"cannot read {path} ({error}): fetch it again") from None
    return _samples(base, rows, tuple(sorted({row[1] for row in rows})))


def dtd_lists(root: Path, classes: Classes, fold: int = 1) -> Samples:
    """DTD: `labels/{train,val,test}<fold>.txt` of `<class>/<class>_NNNN.jpg`, below `images/`."""
    files = [f"labels/{part}{fold}.txt" for part in PARTS]
    base = folder_with(root, files, "dtd/{images/,labels/}")
    rows = [
        (f"images/{name}", name.split("/")[0], part)
        for part, file in zip(PARTS, files, strict=True)
        for name in read_lines(base / file)
    ]
    return _samples(base, rows, tuple(sorted({row[1] for row in rows})))


def _samples(
    base: Path, rows: list[tuple[str, str, str]], labels: tuple[str, ...], classes: tuple[str, ...] | None = None
) -> Samples:
    """From (name, label, part) per image; `classes` are the display names of `labels`."""
    index = {label: i for i, label in enumerate(labels)}
    if unknown := [(name, label) for name, label, _ in rows if label not in index]:
        raise UserError(
            f"labels outside the data sheet: {unknown[0][0]} in {base} is {unknown[0][1]!r}, none of the {len(labels)} classes"
        )
    rows = sorted(rows)
    names = [name for name, _, _ in rows]
    positions = [index[label] for _, label, _ in rows]
    return listed_samples(base, names, positions, classes or labels, [part for _, _, part in rows])
