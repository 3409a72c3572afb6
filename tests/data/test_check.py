"""python -m common check: what it finds on miniatures, what it says, what it writes."""

import csv
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import miniatures
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

import folder
from common.__main__ import main
from common.data.checks import duplicates
from common.data.checks.check import check
from common.data.checks.report import summary
from common.models.build import get_backbone


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def photo(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A (width, height) picture with large and small structures, as photographs have."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (n, n, 3), np.uint8)).resize(size, 3)) for n in (4, 9, 30)
    ]
    return Image.fromarray(np.mean(layers, 0).astype(np.uint8))


def photos(*per_class: int) -> Path:
    """Class folders a, b, ... of as many photographs."""
    for c, n in enumerate(per_class):
        class_dir = Path("photos", "abcdef"[c])
        class_dir.mkdir(parents=True)
        for i in range(n):
            photo(100 * c + i).save(class_dir / f"{i:02d}.png")
    return Path("photos")


def problems(*options: object) -> list[tuple[str, str, str]]:
    """(problem, path, detail) of the list that the command writes."""
    main(["check", *map(str, options), "--out", "found.csv"])
    with open("found.csv", newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    Path("found.csv").unlink()
    return [(row["problem"], row["path"], row["detail"]) for row in found]


def test_nothing_to_find(capsys: pytest.CaptureFixture) -> None:
    assert problems(photos(12, 15)) == []
    output = capsys.readouterr().out.splitlines()
    assert output == [
        "Your folder: 27 images of 2 classes; 18 train, 3 val, 6 test (our split, validation with seed 0)",
        "layout: class folders: 27 images; 2 classes",
        "classes: 12 (a) to 15 images (b), ratio 1:1.2",
        "summary: no serious problems found",
        "0 findings -> found.csv",
    ]


def test_unreadable(capsys) -> None:
    root = photos(10, 10)
    (root / "a" / "00.png").write_bytes(b"broken")
    (root / "b" / "03.png").write_bytes((root / "b" / "03.png").read_bytes()[:500])
    photo(1).save(root / "b" / "04.dds")
    content = (root / "b" / "04.dds").read_bytes()
    (root / "b" / "04.dds").write_bytes(
        content[:80] + bytes(4) + content[84:]
    )  # no pixel format: Pillow raises NotImplementedError
    paths = ["a/00.png", "b/03.png", "b/04.dds"]
    assert [row[:2] for row in problems(root)] == [("unreadable", path) for path in paths]
    assert capsys.readouterr().out.splitlines()[-2] == "summary: serious: unreadable"


def test_odd_mode_size_and_orientation() -> None:
    root = photos(10, 10)
    photo(901).convert("L").save(root / "a" / "grey.png")
    photo(902).convert("RGBA").save(root / "a" / "clear.png")
    photo(903, (64, 64)).save(root / "b" / "small.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(904).save(root / "b" / "phone.jpg", exif=exif)
    assert problems(root) == [
        ("odd mode", "a/clear.png", "RGBA, most are RGB"),
        ("odd mode", "a/grey.png", "L, most are RGB"),
        ("odd size", "b/small.png", "64x64, most are 90x120"),
        ("on its side", "b/phone.jpg", "turned upright by its EXIF tag when it is read"),
    ]


def test_sizes_without_a_usual_one() -> None:
    for i in range(20):
        for name in "ab":
            Path("photos", name).mkdir(parents=True, exist_ok=True)
            photo(50 * (name == "b") + i, (100 + i, 80 + i)).save(Path("photos", name, f"{i}.png"))
    photo(777, (600, 90)).save("photos/a/strip.png")
    assert problems("photos") == [("odd size", "a/strip.png", "90x600, the median is 90x110")]


def test_exact_duplicates_across_parts_and_labels(capsys) -> None:
    for part, first in (("train", 0), ("val", 100), ("test", 200)):
        for c, name in enumerate("ab"):
            Path("data", part, name).mkdir(parents=True)
            for i in range(4):
                photo(first + 10 * c + i).save(Path("data", part, name, f"{i}.png"))
    photo(0).save("data/test/a/again.bmp")  # another file, the same pixels
    photo(1).save("data/train/a/twice.png")
    photo(2).save("data/train/b/torn.png")
    assert problems("data") == [
        ("exact duplicates", "test/a/again.bmp", "in train and test"),
        ("exact duplicates", "train/a/0.png", "in train and test"),
        ("exact duplicates", "train/a/1.png", "in train"),
        ("exact duplicates", "train/a/twice.png", "in train"),
        ("exact duplicates", "train/a/2.png", "in train, labelled a and b"),
        ("exact duplicates", "train/b/torn.png", "in train, labelled a and b"),
    ]
    output = capsys.readouterr().out
    assert "exact duplicates: 6 images in 3 sets, 2 across parts or labels; first test/a/again.bmp (in train" in output
    assert "summary: serious: exact duplicates" in output


def test_near_duplicates() -> None:
    root = photos(10, 10)
    photo(3).save(root / "a" / "saved_again.jpg", quality=40)
    photo(4).resize((60, 45)).save(root / "a" / "smaller.png")
    photo(5).point(lambda x: 0.8 * x).save(root / "a" / "darker.png")
    found = [path for kind, path, _ in problems(root) if kind == "near duplicates"]
    assert sorted(found) == [f"a/{n}" for n in ("03.png", "04.png", "05.png", "darker.png", "saved_again.jpg", "smaller.png")]  # fmt: skip


def test_flat_images_are_not_near_duplicates(class_tree) -> None:
    flat = np.full((5, 32, 32), 100, np.uint8)
    assert duplicates.near(flat + np.arange(5, dtype=np.uint8)[:, None, None]) == []
    assert problems(class_tree()) == []  # noise around one colour per class


def test_pairs_are_those_of_a_plain_search() -> None:
    rng = random.Random(0)
    hashes = [rng.getrandbits(64) for _ in range(60)]
    hashes += [h ^ (1 << rng.randrange(64)) ^ (1 << rng.randrange(64)) for h in hashes[:20]]
    batches = list(duplicates._pairs(np.array(hashes, np.uint64), np.arange(80)))
    one, two = (np.concatenate(side) for side in zip(*batches, strict=True))
    plain = {(i, j) for j in range(80) for i in range(j) if (hashes[i] ^ hashes[j]).bit_count() <= duplicates.BITS}
    assert set(zip(one.tolist(), two.tolist(), strict=True)) == plain and len(one) == len(plain) >= 20


def test_frames_of_one_scene_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, compared = np.random.default_rng(0), []
    scene = rng.integers(5, 250, (32, 32))
    frames = (scene + rng.normal(0, 1, (1000, 32, 32))).astype(np.uint8)
    correlation = duplicates._correlation

    def counted(one: np.ndarray, two: np.ndarray) -> np.ndarray:
        compared.append(len(one))
        return correlation(one, two)

    monkeypatch.setattr(duplicates, "_correlation", counted)
    assert duplicates.near(frames) == [list(range(1000))]
    assert sum(compared) < 50_000  # of half a million pairs


def test_torn_groups() -> None:
    root = Path("data")
    for part, first in (("train", 0), ("test", 200)):
        for name in "ab":
            (root / part / name).mkdir(parents=True)
            for i in range(4):
                photo(first + i + 50 * (name == "b")).save(root / part / name / f"p{i}_{first}.png")

    def load(place: Path, classes: None):
        samples = folder.DATASET.load(place, classes)
        return replace(samples, groups=[name.rsplit("/", 1)[1].split("_")[0] for name in samples.names])

    preprocess = get_backbone("resnet50").preprocess()
    report = check(replace(folder.DATASET, load=load), root, preprocess)
    torn = [p for p in report.problems if p.kind == "torn groups"]
    assert len(torn) == 16 and all(p.serious for p in torn) and len({p.set for p in torn}) == 4
    assert "torn groups: 16 images in 4 sets, 4 across parts" in "\n".join(summary(report))
    for name in "ab":  # a copy of every image of a group does not hide the group
        for part, first in (("train", 0), ("test", 200)):
            image = root / part / name / f"p0_{first}.png"
            shutil.copy(image, image.with_name(f"p{name}copy{part}_{first}.png"))
    report = check(replace(folder.DATASET, load=load), root, preprocess)
    assert "torn groups: 16 images in 4 sets, 4 across parts" in "\n".join(summary(report))


def test_a_dataset_with_too_few_images_and_its_caveats(cifar_tree: Path, capsys) -> None:
    problems("cifar10", "--data_dir", cifar_tree)
    output = capsys.readouterr().out
    assert "100 images train (expected 50,000)" in output and "caveat: 3.3 % of the test images" in output
    assert "CIFAR-10: 120 images of 10 classes; 90 train, 10 val, 20 test\n" in output and "counts" in output


def test_a_class_too_small_to_split(capsys) -> None:
    problems(photos(10, 1))
    output = capsys.readouterr().out
    assert "11 images of 2 classes; no split\n" in output and "class 'b' has no image in train" in output


def test_bundled_digits(capsys) -> None:
    main(["check", "digits"])
    output = capsys.readouterr().out
    assert "Digits: 1,797 images of 10 classes; 1,284 train, 149 val, 364 test" in output
    assert "near duplicates" not in output, "8 x 8 pixels are too few to compare"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["eurosta"], "no dataset 'eurosta': did you mean 'eurosat'?"),
        (["eurosat"], "no data in data/eurosat (not found)"),
        (["images", "--data_dir", "images"], "no dataset 'images'"),
        (["images", "--out", "old.csv"], "old.csv exists already"),
        (["images/ant"], "no class folders in images/ant"),
    ],
)
def test_mistakes(class_tree, capsys, options: list[str], says: str) -> None:
    class_tree()
    Path("old.csv").touch()
    with pytest.raises(SystemExit) as stop:
        main(["check", *options])
    assert stop.value.code == 2 and says in capsys.readouterr().err


def test_it_loads_no_torch(class_tree) -> None:
    class_tree()
    code = "import sys; from common.__main__ import main; main(['check', 'images']); sys.exit('torch' in sys.modules)"
    env = {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=env, capture_output=True).returncode == 0


def test_of_a_fold_and_of_the_papers_split(capsys: pytest.CaptureFixture) -> None:
    miniatures.dtd(Path("data/dtd"))
    main(["check", "dtd", "--fold", "2"])
    assert "9 train, 9 val, 9 test" in capsys.readouterr().out
    miniatures.rsna_pneumonia(Path("data/rsna_pneumonia"))
    assert not [detail for _, _, detail in problems("rsna_pneumonia") if detail.startswith("in ")]
    details = [detail for _, _, detail in problems("rsna_pneumonia", "--split", "paper")]
    assert {"in train and test", "in val and test"} <= set(details)  # a patient's images, here copies
    with pytest.raises(SystemExit):
        main(["check", "dtd", "--fold", "11"])
    with pytest.raises(SystemExit):
        main(["check", "cub200", "--split", "paper"])
