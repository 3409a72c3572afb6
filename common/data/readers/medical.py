"""Read medical datasets, grouped by patient."""

import csv
import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from ...errors import UserError
from ...spec import Classes, Reader, Samples
from .files import folder_with, image_files, locate, read_lines
from .folders import class_folders

SLIDE = re.compile(
    r"SOB_[BM]_(?:A|F|PT|TA|DC|LC|MC|PC)-(?P<patient>\d+-\d+)[A-Z]*-(?P<magnification>40|100|200|400)-\d+\.png"
)
LABELS = "stage_2_train_labels.csv"
PATIENTS = "pneumonia-challenge-dataset-mappings_2018.json"


def breakhis_slides(magnification: str) -> Reader:
    """A reader of BreakHis' `{benign,malignant}/**/SOB_<B|M>_<TYPE>-<YY>-<SLIDE>-<MAGNIFICATION>-<SEQ>.png`.

    Patient and magnification come from the file name: a slide's folder is spelt differently (`SOB_M_DC_14-11951`).
    Letters after the slide's number distinguish slides of one patient; the number is the patient. With
    a `fold` the parts are those of the authors' `dsfold<fold>.txt`: `imgname|mag|fold|grp`.
    """

    def read(root: Path, classes: Classes, fold: int | None = None) -> Samples:
        all_samples = class_folders(root, classes)
        slides = [SLIDE.fullmatch(Path(name).name) for name in all_samples.names]
        if None in slides:
            raise UserError(
                f"{all_samples.names[slides.index(None)]} is not a BreakHis name: expected SOB_M_DC-14-2523-40-001.png"
            )
        selected = [i for i, slide in enumerate(slides) if f"{slide['magnification']}x" == magnification]
        if not selected:
            raise UserError(f"no image of magnification {magnification} in {root}")
        names = [all_samples.names[i] for i in selected]
        return replace(
            all_samples,
            images=[all_samples.images[i] for i in selected],
            names=names,
            labels=[all_samples.labels[i] for i in selected],
            parts=_fold(root, fold, names) if fold else None,
            groups=[slides[i]["patient"] for i in selected],
        )

    return read


def _fold(root: Path, fold: int, names: list[str]) -> list[str]:
    file = f"dsfold{fold}.txt"
    base = folder_with(root, (file,), f"the authors' {file} (mkfold.tar.gz) beside the images")
    rows = [line.split("|") for line in read_lines(base / file)]
    parts = {row[0]: row[3] for row in rows if len(row) == 4 and row[3] in ("train", "test")}
    if missing := [name for name in names if Path(name).name not in parts]:
        raise UserError(f"{base / file} has no part for {len(missing)} images, the first is {missing[0]}")
    return [parts[Path(name).name] for name in names]


def rsna_csv(root: Path, classes: Classes) -> Samples:
    """RSNA: `stage_2_train_labels.csv`, a row per box, and `stage_2_train_images/<patientId>.dcm` (or .png, .jpg).

    `patientId` is per image. The real patient comes from RSNA's mapping to the NIH's file names, if it is there.
    Names have no suffix, so that DICOM and PNG have the same split.
    """
    rows, paths, missing = _rows(root)
    targets: dict[str, int] = {}
    for name, target in rows:
        targets[name] = max(target, targets.get(name, 0))
    names = sorted(targets)
    return Samples(
        images=[paths[name] for name in names],
        names=names,
        labels=[targets[name] for name in names],
        classes=classes,
        groups=_patients(root, names),
        missing=missing,
    )


def rsna_boxes(root: Path, classes: Classes) -> Samples:
    """Like `rsna_csv`, with a sample per row: an image with several boxes occurs several times, as a group."""
    rows, paths, missing = _rows(root)
    numbered: Counter[str] = Counter()
    names: list[str] = []
    for name, _ in rows:
        numbered[name] += 1
        names.append(f"{name}#{numbered[name]}")
    return Samples(
        images=[paths[name] for name, _ in rows],
        names=names,
        labels=[target for _, target in rows],
        classes=classes,
        groups=[name for name, _ in rows],
        missing=missing,
    )


def _rows(root: Path) -> tuple[list[tuple[str, int]], dict[str, str], tuple[str, ...]]:
    """The table's (patientId, Target) of existing images, their paths, and the missing ones."""
    base = folder_with(root, (LABELS,), f"{LABELS} beside stage_2_train_images/")
    try:
        with open(base / LABELS, newline="", encoding="utf-8") as file:
            rows = [(row["patientId"], int(row["Target"])) for row in csv.DictReader(file)]
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(f"cannot read {base / LABELS} ({error}): expected patientId,x,y,width,height,Target") from None
    if wrong := [target for _, target in rows if target not in (0, 1)]:
        raise UserError(f"labels outside the data sheet: Target {wrong[0]} in {base / LABELS}, expected 0 or 1")
    folder = base / "stage_2_train_images"
    paths = {name.rsplit(".", 1)[0]: path for path, name in image_files(folder)} if folder.is_dir() else {}
    listed = {name for name, _ in rows}
    missing = sorted(listed - paths.keys())
    if not listed:
        raise UserError(f"no rows in {base / LABELS}: fetch it again")
    if len(missing) == len(listed):
        raise UserError(f"all {len(listed)} images missing in {folder}, the first is {missing[0]}.dcm")
    return [row for row in rows if row[0] in paths], paths, tuple(missing)


def _patients(root: Path, names: list[str]) -> list[str] | None:
    """The patient of each image, if there is a mapping: NIH ChestX-ray14's `00000013_005.png` is of patient 00000013."""
    base = locate(root, lambda folder: (folder / PATIENTS).is_file())
    if base is None:
        return None
    try:
        rows = json.loads((base / PATIENTS).read_text("utf-8"))
        patients = {row["subset_img_id"]: row["img_id"].split("_")[0] for row in rows}
        return [patients[name] for name in names]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{base / PATIENTS} maps no patient ({error}): fetch it again") from None
