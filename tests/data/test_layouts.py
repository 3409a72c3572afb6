"""Every reader on a miniature of its official layout: right labels, parts and groups; wrong layouts raise one line."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import miniatures
import numpy as np
import pytest
from PIL import Image

from common import Samples
from common.data.images.decode import decode
from common.data.images.dicom import read_dicom
from common.data.readers.files import check_missing
from common.data.splits.requirements import check_counts
from common.data.splits.splits import split
from common.errors import UserError
from common.spec import Dataset, Preprocess

PIXELS = Preprocess(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))

# miniature: images of train, val, test (or in all), classes
SHAPES = {
    "cifar100": ((36, 0, 24), 12),
    "tinyimagenet": ((12, 0, 9), 3),
    "stanford_dogs": ((12, 0, 9), 3),
    "cub200": ((12, 0, 9), 3),
    "stanford_cars": ((12, 0, 9), 3),
    "stanford_cars_folders": ((8, 0, 6), 2),
    "food101": ((12, 0, 9), 3),
    "dtd": ((9, 9, 9), 3),
    "ucmerced": (105, 21),
    "plantvillage": (18, 3),
    "plantvillage_leaves": (27, 2),
    "plantclef": ((60, 0, 20), 20),
    "galaxy10": (100, 10),
    "breakhis": (36, 2),
    "rsna_pneumonia": (30, 2),
}


def sheet_of(miniature: str) -> Dataset:
    script = import_module(miniature.removesuffix("_folders").removesuffix("_leaves"))
    return script.DATASETS[0] if hasattr(script, "DATASETS") else script.DATASET


def load(sheet: Dataset, root: Path) -> Samples:
    return sheet.load(root, sheet.classes)


@pytest.fixture
def built(tmp_path: Path) -> Callable[[str], Path]:
    def build(name: str) -> Path:
        root = tmp_path / "data"
        getattr(miniatures, name)(root)
        return root

    return build


@pytest.mark.parametrize("name", SHAPES)
def test_labels_parts_and_names(built, name: str) -> None:
    shape, classes = SHAPES[name]
    samples = load(sheet_of(name), built(name))
    assert len(samples.classes) == classes and len(set(samples.names)) == len(samples)
    if isinstance(shape, int):
        assert samples.parts is None and len(samples) == shape
    else:
        assert tuple(samples.parts.count(part) for part in ("train", "val", "test")) == shape
    pixels, bad = decode(samples.images, PIXELS, None)
    assert not bad
    if name == "rsna_pneumonia":  # grey: positive ones are bright
        assert [int(image.mean() > 120) for image in pixels] == list(samples.labels)
    else:
        assert [miniatures.hue(image) for image in pixels] == [label % 6 for label in samples.labels]


@pytest.mark.parametrize("name", SHAPES)
def test_names_do_not_depend_on_where_the_data_lies(built, name: str, tmp_path: Path) -> None:
    original = load(sheet_of(name), built(name))
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "data", tmp_path / "elsewhere" / "unpacked")
    moved = load(sheet_of(name), tmp_path / "elsewhere")
    assert (original.names, original.labels, original.groups) == (moved.names, moved.labels, moved.groups)


@pytest.mark.parametrize("name", SHAPES)
def test_an_empty_folder_names_the_expected_layout(tmp_path: Path, name: str) -> None:
    (tmp_path / "something").mkdir()
    with pytest.raises(UserError, match=r"expected .*") as error:
        load(sheet_of(name), tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


@pytest.mark.parametrize(
    "name", ["tinyimagenet", "stanford_dogs", "cub200", "stanford_cars", "food101", "dtd", "rsna_pneumonia"]
)
def test_a_listed_image_that_is_missing(built, name: str) -> None:
    root = built(name)
    complete = len(load(sheet_of(name), root))
    next(p for p in sorted(root.rglob("*")) if p.suffix in {".jpg", ".dcm"} or "val_0" in p.name).unlink()
    samples = load(sheet_of(name), root)
    assert len(samples) == complete - 1 == len(samples.images) and len(samples.missing) == 1
    with pytest.raises(UserError, match=r"1 of \d+ images missing in .*, the first is .*--subset"):
        check_missing(samples, root)


@pytest.mark.parametrize(
    ("name", "file", "content", "says"),
    [
        ("cifar100", "cifar-100-python/train", b"nonsense", "not a CIFAR batch"),
        ("tinyimagenet", "tiny-imagenet-200/words.txt", b"n01\tgoldfish\nn02\tcrane\n", "n03 of wnids.txt is not in"),
        ("tinyimagenet", "tiny-imagenet-200/wnids.txt", b"n01\nn02\n", "labels outside the data sheet.*'n03'"),
        ("stanford_dogs", "test_list.mat", b"MATLAB 5.0", "cannot read test_list.mat"),
        ("tinyimagenet", "tiny-imagenet-200/val/val_annotations.txt", b"val_0.JPEG\n", "labels outside the data sheet"),
        ("dtd", "dtd/labels/val1.txt", b"banded/banded_0000.jpg\n", "name images/banded/banded_0000.jpg 2 times"),
        ("cub200", "CUB_200_2011/train_test_split.txt", b"1 1\n", "lists .* do not agree"),
        ("cub200", "CUB_200_2011/images.txt", b"\xff\xfe\xff", "cannot read .*images.txt"),
        ("food101", "food-101/meta/train.json", b"{", "cannot read .*train.json"),
        ("food101", "food-101/meta/train.json", b"[]", "cannot read .*train.json"),
        ("galaxy10", "Galaxy10_DECals.h5", b"<html>", "cannot read .*expected images, ans, ra and dec"),
        ("rsna_pneumonia", "stage_2_train_labels.csv", b"id,x\n1,2\n", "expected patientId"),
        ("rsna_pneumonia", "stage_2_train_labels.csv", b"patientId,Target\na,7\n", "Target 7 .*expected 0 or 1"),
        ("rsna_pneumonia", "pneumonia-challenge-dataset-mappings_2018.json", b"[]", "maps no patient"),
        ("plantvillage_leaves", "leaf_grouping/leaf-map.json", b"oops", "cannot read .*leaf-map.json"),
    ],
)  # fmt: skip
def test_a_broken_file_is_named(built, name: str, file: str, content: bytes, says: str) -> None:
    root = built(name)
    (root / file).write_bytes(content)
    with pytest.raises(UserError, match=says) as error:
        load(sheet_of(name), root)
    assert "\n" not in str(error.value)


def test_a_class_folder_without_images(built) -> None:
    root = built("tinyimagenet")
    shutil.rmtree(root / "tiny-imagenet-200" / "train" / "n02" / "images")
    with pytest.raises(UserError, match="class folder without images"):
        load(sheet_of("tinyimagenet"), root)
    (built("plantclef") / "PlantCLEF_Subset" / "val" / "fig" / "fig00.jpg").unlink()
    with pytest.raises(UserError, match=r"class folder without images: .*val/fig"):
        load(sheet_of("plantclef"), root)


def test_class_names_come_from_the_layout(built) -> None:
    assert load(sheet_of("cifar100"), built("cifar100")).classes[3] == "thing 003"
    assert load(sheet_of("tinyimagenet"), built("tinyimagenet")).classes == ("n01 goldfish", "n02 crane", "n03 crane")
    assert "Ram C/V Cargo Van Minivan 2012" in load(sheet_of("stanford_cars"), built("stanford_cars")).classes
    assert load(sheet_of("dtd"), built("dtd")).classes == ("banded", "blotchy", "zigzagged")


def test_another_number_of_classes_than_the_sheet_states(built) -> None:
    sheet = sheet_of("dtd")
    with pytest.raises(UserError, match=r"found 3 classes \(expected 47\)"):
        check_counts(sheet, load(sheet, built("dtd")))


def test_the_cars_devkit_alone_has_no_test_labels(built) -> None:
    folder = built("stanford_cars") / "stanford_cars"
    labels = folder / "cars_test_annos_withlabels.mat"
    labels.rename(folder / "devkit" / labels.name)  # where others have put it
    assert len(load(sheet_of("stanford_cars"), folder)) == 21
    (folder / "devkit" / labels.name).unlink()
    with pytest.raises(UserError, match="list of test images has no classes"):
        load(sheet_of("stanford_cars"), folder)


def test_dtd_folds(built) -> None:
    sheet, root = sheet_of("dtd"), built("dtd")
    one, two = (sheet.load(root, sheet.classes, fold=fold) for fold in (1, 2))
    assert [n for n, p in zip(one.names, one.parts, strict=True) if p == "train"] == [
        n for n, p in zip(two.names, two.parts, strict=True) if p == "test"
    ]
    with pytest.raises(UserError, match=r"labels/train3\.txt"):
        sheet.load(root, sheet.classes, fold=3)


def test_leaves_stay_together(built) -> None:
    samples = load(sheet_of("plantvillage"), built("plantvillage_leaves"))
    groups = Counter(samples.groups)
    assert len(groups) == 9 and set(groups.values()) == {3}, "eight leaves of three pictures, three copies of one"
    assert groups["Apple___healthy:::0.0"] == groups["Blueberry___healthy:::0.0"] == 3


def test_a_leaf_map_of_another_edition(built) -> None:
    root = built("plantvillage")
    (root / "leaf-map.json").write_text(json.dumps({"rs_hl 0001": ["Apple___healthy:::1.0"]}))
    with pytest.raises(UserError, match="has none of the images"):
        load(sheet_of("plantvillage"), root)


def test_galaxies_are_read_one_by_one_and_grouped_by_position(built) -> None:
    sheet = sheet_of("galaxy10")
    samples = load(sheet, built("galaxy10"))
    assert samples.images.shape == (100, 64, 64, 3) and len(samples.images) == 100
    assert not isinstance(samples.images, np.ndarray) and samples.images[7].shape == (64, 64, 3)
    assert samples.groups[9] == samples.groups[10] and len(set(samples.groups)) == 91
    pixels, bad = decode(samples.images, Preprocess(**{**vars(PIXELS), "size": (64, 64)}), (64, 64))
    assert pixels.shape == (100, 64, 64, 3) and not bad and (pixels[42] == samples.images[42]).all()


def test_breakhis_patients_and_magnifications(built) -> None:
    script, root = import_module("breakhis"), built("breakhis")
    samples = load(script.DATASETS[0], root)
    assert all("-40-" in name and name.startswith(("benign/SOB/", "malignant/SOB/")) for name in samples.names)
    groups = Counter(samples.groups)
    assert groups["14-13412"] == 6, "DC and LC of the same number are one patient"
    assert groups["14-21998"] == groups["14-22549"] == 6 and len(groups) == 9
    parts = split(script.DATASETS[0], samples, seed=0)
    train, test = ({samples.groups[i] for i in part} for part in (parts.train, parts.test))
    assert train and test and not train & test
    with pytest.raises(UserError, match="no image of magnification 400x"):
        load(script.DATASETS[3], root)


def test_breakhis_folds(built) -> None:
    sheet, root = sheet_of("breakhis"), built("breakhis")
    samples = sheet.load(root, sheet.classes, fold=3)
    assert {g for g, p in zip(samples.groups, samples.parts, strict=True) if p == "test"} == {"14-14134", "14-2523"}
    with pytest.raises(UserError, match=r"no dsfold1\.txt in .*mkfold"):
        sheet.load(root, sheet.classes, fold=1)
    lines = (root / "dsfold3.txt").read_text().splitlines()
    (root / "dsfold3.txt").write_text("\n".join(lines[1:]))
    with pytest.raises(UserError, match="has no part for 1 images"):
        sheet.load(root, sheet.classes, fold=3)


def test_a_name_that_breakhis_does_not_know(built) -> None:
    root = built("breakhis")
    first = next(root.rglob("*.png"))
    first.rename(first.with_name("scan1.png"))
    with pytest.raises(UserError, match=r"scan1\.png is not a BreakHis name"):
        load(sheet_of("breakhis"), root)


def test_rsna_one_image_per_id_and_the_same_split_for_every_format(tmp_path: Path) -> None:
    sheet = sheet_of("rsna_pneumonia")
    for suffix, patients in ((".dcm", True), (".png", True), (".jpg", False)):
        miniatures.rsna_pneumonia(tmp_path / suffix, suffix, patients)
    dicom, png, jpg = (load(sheet, tmp_path / suffix) for suffix in (".dcm", ".png", ".jpg"))
    assert dicom.names == png.names == jpg.names and sum(dicom.labels) == 15
    assert set(Counter(dicom.groups).values()) == {3} and jpg.groups is None
    one, two = (split(sheet, samples, seed=0).fingerprint for samples in (dicom, png))
    assert one == two


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (12, 16), (16, 257)])
def test_dicom_ranges(tmp_path: Path, bits: int, scale: int) -> None:
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    stored = grey if bits == 8 else grey.astype(np.uint16) * scale
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        miniatures.dicom(tmp_path / "x.dcm", stored, kind, bits)
        found = np.asarray(read_dicom(str(tmp_path / "x.dcm"))).astype(int)
        assert np.abs(found - (255 - grey.astype(int) if kind == "MONOCHROME1" else grey)).max() <= 1


def test_a_broken_dicom_file_is_reported_like_any_image(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"no such thing")
    miniatures.dicom(tmp_path / "b.dcm", np.zeros((4, 4), np.uint8))
    (tmp_path / "b.dcm").write_bytes((tmp_path / "b.dcm").read_bytes()[:-40])
    _, bad = decode([str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm")], PIXELS, None)
    assert sorted(bad) == [0, 1] and all(bad.values())


def test_plantvillages_odd_files(built) -> None:
    samples = load(sheet_of("plantvillage"), built("plantvillage"))
    assert {Path(name).suffix for name in samples.names} == {".JPG", ".jpg", ".jpeg", ".png"}
    assert Image.open(samples.images[samples.names.index("Tomato___Late_blight/image (5).png")]).mode == "RGBA"
