"""A user's folder in every layout that is read: which images, labels, parts and line; and those that are refused."""

import os
from collections import Counter
from pathlib import Path
from zlib import crc32

import pytest
from miniatures import picture

from common import image_folder
from common.data.readers.layout import format_layout
from common.data.readers.part_names import part_of, parts_of
from common.data.splits.splits import split
from common.errors import UserError
from common.spec import Samples
from folder import DATASET

CASES = Path(os.environ.get("CLASH_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "cases"


def add(root: Path, *names: str) -> Path:
    """Images of these names; `a/{3}.jpg` stands for a/0.jpg to a/2.jpg."""
    for name in names:
        before, brace, rest = name.partition("{")
        n, _, after = rest.partition("}")
        for full in [f"{before}{i}{after}" for i in range(int(n))] if brace else [name]:
            path = root / full
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(crc32(full.encode("utf-8", "surrogateescape")), (8, 8)).save(path)
    return root


def line(samples: Samples) -> str:
    return "; ".join(format_layout(samples))


def count(samples: Samples) -> Counter:
    """{(part, class): images}"""
    parts = samples.parts or [""] * len(samples)
    return Counter((part, samples.classes[label]) for part, label in zip(parts, samples.labels, strict=True))


def both(part: str, n: int) -> dict[tuple[str, str], int]:
    return {(part, "cat"): n, (part, "dog"): n}


@pytest.mark.parametrize(
    ("names", "expected", "text"),
    [
        (("train", "valid", "test"), both("train", 4) | both("val", 3) | both("test", 2), "train/ 8, valid/ 6 (validation), test/ 4; 2 classes"),
        (("Train", "Val", "Test"), both("train", 4) | both("val", 3) | both("test", 2), "Train/ 8, Val/ 6, Test/ 4; 2 classes"),
        (("TRAINING", "dev", "HoldOut"), both("train", 4) | both("val", 3) | both("test", 2), "TRAINING/ 8 (train), dev/ 6 (validation), HoldOut/ 4 (test); 2 classes"),
        (("train_images", "validation set", "test2017"), both("train", 4) | both("val", 3) | both("test", 2),
         "train_images/ 8 (train), validation set/ 6 (validation), test2017/ 4 (test); 2 classes"),
        (("train", "test"), both("train", 4) | both("test", 3), "train/ 8, test/ 6; 2 classes"),
        (("train", "val"), both("train", 4) | both("test", 3),
         "train/ 8, val/ 6 (test); 2 classes; no test/: val/ is held out as test, validation is carved from train"),
        (("train", "eval"), both("train", 4) | both("test", 3), "train/ 8, eval/ 6 (test); 2 classes"),
        (("train", "eval", "test"), both("train", 4) | both("val", 3) | both("test", 2), "train/ 8, eval/ 6 (validation), test/ 4; 2 classes"),
        (("train",), both("", 4), "class folders: 8 images; 2 classes; all in train/"),
        (("seg_train", "seg_test"), both("train", 4) | both("test", 3), "seg_train/ 8 (train), seg_test/ 6 (test); 2 classes"),
        (("SegTrain/SegTrain", "SegTest/SegTest"), both("train", 4) | both("test", 3), "SegTrain/ 8 (train), SegTest/ 6 (test); 2 classes"),
        (("train/Training", "test"), both("train", 4) | both("test", 3), "train/ 8, test/ 6; 2 classes"),
    ],
)  # fmt: skip
def test_parts(tmp_path: Path, names: tuple[str, ...], expected: dict, text: str) -> None:
    for n, part in zip((4, 3, 2), names, strict=False):
        add(tmp_path, f"{part}/cat/{{{n}}}.jpg", f"{part}/dog/{{{n}}}.png")
    samples = image_folder(tmp_path)
    assert count(samples) == expected and line(samples) == text
    assert all(Path(image) == tmp_path / name for image, name in zip(samples.images, samples.names, strict=True))


def test_parts_below_every_class(tmp_path: Path) -> None:
    samples = image_folder(
        add(tmp_path, "cat/train/{4}.jpg", "cat/test/{2}.jpg", "dog/Train/{4}.jpg", "dog/Test/{2}.jpg")
    )
    assert count(samples) == both("train", 4) | both("test", 2)
    assert "parts are the folders below each class" in line(samples)


@pytest.mark.parametrize("above", ["pets", "pets/images", "Train"])
def test_a_single_folder_around_the_classes(tmp_path: Path, above: str) -> None:
    samples = image_folder(add(tmp_path, f"{above}/cat/{{3}}.jpg", f"{above}/dog/{{3}}.jpg"))
    assert count(samples) == both("", 3) and f"all in {above}/" in line(samples)


def test_nested_class_folders(tmp_path: Path) -> None:
    samples = image_folder(add(tmp_path, "cat/2023/{3}.jpg", "cat/2024/{2}.jpg", "dog/{5}.jpg"))
    assert count(samples) == both("", 5)
    assert line(samples).endswith("classes are the upper folders, not those below them (cat/2023/ ...)")


def test_one_class_named_like_a_part(tmp_path: Path) -> None:
    samples = image_folder(add(tmp_path, "bus/{3}.jpg", "train/{3}.jpg", "car/{3}.jpg"))
    assert samples.classes == ("bus", "car", "train") and samples.parts is None
    assert "train/ is a class like the others, not a part" in line(samples)


def test_classes_whose_names_end_like_parts(tmp_path: Path) -> None:
    samples = image_folder(add(tmp_path, "bullet_train/{3}.jpg", "crash_test/{3}.jpg", "car/{3}.jpg"))
    assert samples.classes == ("bullet_train", "car", "crash_test") and samples.parts is None


def test_images_beside_the_parts_are_counted(tmp_path: Path) -> None:
    add(tmp_path, "{2}.jpg", "train/cat/{4}.jpg", "train/dog/{4}.jpg", "test/cat/{2}.jpg", "test/dog/{2}.jpg")
    assert line(image_folder(tmp_path)).endswith("2 files skipped (outside the class folders)")


def test_an_unlabelled_test_folder(tmp_path: Path) -> None:
    samples = image_folder(add(tmp_path, "train/cat/{4}.jpg", "train/dog/{4}.jpg", "test/{3}.jpg"))
    assert count(samples) == both("", 4)
    assert line(samples).endswith("all in train/; 3 files skipped (in test/ without class folder)")


def test_skipped_files_are_counted(tmp_path: Path) -> None:
    root = add(
        tmp_path,
        "cat/{3}.jfif",
        "dog/{3}.pgm",
        "stray.jpg",
        "cat/.hidden.jpg",
        "cat/.thumbs/{2}.jpg",
        "__MACOSX/cat/._0.jpg",
    )
    for name in ("cat/c.heic", "cat/d.heic", "notes.txt", "cat/Thumbs.db", "dog/.DS_Store"):
        (root / name).touch()
    samples = image_folder(root)
    assert count(samples) == both("", 3)
    expected = {
        ".heic (pip install pillow-heif)": 2,
        ".txt": 1,
        "hidden": 3,
        **dict.fromkeys(("__MACOSX", "Thumbs.db", ".DS_Store"), 1),
        "outside the class folders": 1,
    }
    assert samples.layout.skipped == expected
    assert line(samples).endswith(
        "10 files skipped (3 hidden, 2 .heic (pip install pillow-heif), 1 .DS_Store, 1 .txt, 1 Thumbs.db, 1 __MACOSX, 1 outside the class folders)"
    )


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("Train/{3}.jpg", "Test/{3}.jpg"), "holds Train/ and Test/, named like parts, but no class folders in them"),
        (("train/cat/{2}.jpg", "train/dog/{2}.jpg", "test/cat/0.jpg", "cow/0.jpg"), r"mixes train/ and test/ with other folders \(cow\)"),
        (("train/cat/0.jpg", "train/dog/0.jpg", "training/cat/0.jpg", "training/dog/0.jpg"), "train/ and training/ are both train"),
        (("val/cat/0.jpg", "test/cat/0.jpg"), "holds val/ and test/ but no train/"),
        (("cat/{3}.jpg",), r"a single class in .* \(cat\)"),
        (("{3}.jpg",), "but 3 images: expected one folder of images per class, or a table of labels"),
        ((), "no class folders in .*: expected one folder of images per class"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, names: tuple[str, ...], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        image_folder(add(tmp_path, *names))
    assert "\n" not in str(error.value)


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    root = add(tmp_path, "cat/{3}.jpg", "dog/{3}.jpg")
    (root / "cow").mkdir()
    (root / "cow" / "list.txt").touch()
    with pytest.raises(UserError, match=r"class folder without images: .*cow"):
        image_folder(root)


def test_a_class_missing_in_test(tmp_path: Path) -> None:
    samples = image_folder(add(tmp_path, "train/cat/{4}.jpg", "train/dog/{4}.jpg", "test/cat/{2}.jpg"))
    (caveat,) = split(DATASET, samples, 0).caveats
    assert (
        caveat == "test has no images of class 'dog' (3 train, 1 val, 0 test): its scores cover the classes that it has"
    )


def test_a_class_missing_in_train(tmp_path: Path) -> None:
    samples = image_folder(
        add(tmp_path, "train/cat/{4}.jpg", "train/cow/{4}.jpg", "test/cat/{2}.jpg", "test/dog/0.jpg")
    )
    with pytest.raises(UserError, match=r"class 'dog' has no image in train \(1 in all\)"):
        split(DATASET, samples, 0)


def test_a_rare_class(tmp_path: Path) -> None:
    root = add(tmp_path, "cat/{10}.jpg", "dog/{10}.jpg", "odd/{2}.jpg", "rare/0.jpg")
    with pytest.raises(UserError, match=r"class 'rare' has no image in train .*--min_images 3"):
        split(DATASET, image_folder(root), 0)
    samples = image_folder(root, min_images=3)
    assert samples.classes == ("cat", "dog") and samples.layout.skipped == {"of rare classes": 3}
    assert samples.layout.caveats == ("classes with fewer than 3 images left out: odd (2), rare (1)",)
    assert "3 images left out: odd (2), rare (1); 3 files skipped (of rare classes)" in line(samples)
    two = image_folder(root, min_images=2)
    (caveat,) = split(DATASET, two, 0).caveats
    assert caveat.startswith("validation has no images of class 'odd' (1 train, 0 val, 1 test)")
    with pytest.raises(UserError, match="no class has 11 images or more"):
        image_folder(root, min_images=11)


@pytest.mark.parametrize(
    ("name", "part"),
    [("Training", "train"), ("trainset", "train"), ("TRAIN_DATA", "train"), ("train2017", "train"), ("Validation Set", "val"), ("images_val", "val"),
     ("hold-out", "test"), ("Testing", "test"), ("evaluation", "test"), ("trains", None), ("test_tube", None), ("cat", None), ("", None), ("data", None),
     ("train2", "train")],
)  # fmt: skip
def test_part_names(name: str, part: str | None) -> None:
    assert part_of(name) == part


def test_parts_come_in_their_order() -> None:
    assert list(parts_of(["test", "Dev", "train", "x"])) == ["train", "Dev", "test"]
