"""`check` on folders whose file metadata, and nothing else, gives the class away."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.__main__ import main
from common.data.checks import baselines, file_metadata
from common.run import frozen_probe

SERIOUS = "summary: serious: file metadata"


def folder(save: Callable[[Path, int, str], None], n: int = 30, classes: str = "ab") -> Path:
    """Class folders of the images that `save` writes."""
    for label in classes:
        Path("photos", label).mkdir(parents=True)
        for i in range(n):
            save(Path("photos", label, f"{i:02}.jpg"), i, label)
    return Path("photos")


def scene(generator: np.random.Generator, size: tuple[int, int] = (40, 40)) -> Image.Image:
    return Image.fromarray(generator.integers(0, 255, (6, 6, 3), np.uint8)).resize(size, 3)


@pytest.fixture
def lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Callable:
    """What `check` prints about a folder, see `folder`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(baselines, "N_TREES", 10)
    monkeypatch.setattr(frozen_probe, "frozen_probe", lambda report: None)

    def check(save: Callable, **shape: object) -> str:
        main(["check", str(folder(save, **shape)), "--out", "found.csv"])
        return capsys.readouterr().out

    return check


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("format", "all of `a` have format PNG, none of the others, which have JPEG"),
        ("quality", "all of `a` have compression quantisation 5.8, none of the others"),
        ("grey", "all of `a` have mode L, none of the others, which have RGB"),
        ("camera", "all of `a` have camera Canon, none of the others, which have Nikon"),
        ("width", "all of `b` have width above "),
    ],
)
def test_metadata_that_gives_classes_away(lines: Callable, kind: str, says: str) -> None:
    generator = np.random.default_rng(0)

    def save(path: Path, i: int, label: str) -> None:
        first, options = label == "a", {"quality": 80}
        width = int(generator.integers(20, 40)) + (0 if first else 30) if kind == "width" else 40
        image = scene(generator, (width, 40))
        if kind == "format":
            path = path.with_suffix(".png") if first else path
        elif kind == "quality":
            options = {"quality": 95 if first else 70}
        elif kind == "grey":
            image = image.convert("L" if first else "RGB")
        elif kind == "camera":
            options["exif"] = Image.Exif()
            options["exif"][271] = "Canon" if first else "Nikon"
        image.save(path, **options)

    printed = lines(save)
    assert says in printed and SERIOUS in printed
    with open("found.csv", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["problem"] == "file metadata"]
    assert len(found) == 30 and len({row["label"] for row in found}) == 1 and says in found[0]["detail"]


def test_one_class_of_many(lines: Callable) -> None:
    """The mean over six classes hardly rises, but the network knows one of them."""
    generator = np.random.default_rng(0)
    printed = lines(
        lambda path, i, label: scene(generator).save(path.with_suffix(".png" if label == "c" else ".jpg")),
        n=12,
        classes="abcdef",
    )
    assert "all of `c` have format PNG" in printed and SERIOUS in printed


def test_metadata_that_tells_nothing(lines: Callable) -> None:
    """Formats and sizes differ, whatever the class; detail in one class makes larger files."""
    generator = np.random.default_rng(0)

    def save(path: Path, i: int, label: str) -> None:
        cells = 6 if label == "a" else 20
        image = Image.fromarray(generator.integers(0, 255, (cells, cells, 3), np.uint8))
        size = (int(generator.integers(40, 60)), 40)
        image.resize(size, 3).save(path.with_suffix(".png" if i % 3 else ".jpg"))

    printed = lines(save)
    assert "summary: no serious problems found" in printed and "file metadata:" not in printed
    score = float(printed.split("file metadata ")[1].split(" %")[0])
    assert score > 70, "bytes per pixel"
    assert "5 folds of 60 images (chance 50.0 %)" in printed


def test_few_images_have_no_baselines(lines: Callable) -> None:
    generator = np.random.default_rng(0)
    assert "baselines" not in lines(lambda path, i, label: scene(generator).save(path), n=12)


def test_a_file_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    scene(np.random.default_rng(0)).save(tmp_path / "b.jpg", dpi=(72, 72))
    files = file_metadata.read_metadata([str(tmp_path / name) for name in ("a.jpg", "b.jpg", "c.dcm")])
    assert files[0] == {} and files[1]["resolution"] == "72x72" and files[2] == {"format": "DICOM"}
    assert baselines.encode_metadata(files).shape[0] == 3 and baselines.encode_metadata(files[:1]).size


def test_border_pixels_and_colours() -> None:
    images = np.zeros((2, 3, 5, 3), np.uint8)
    images[0, 0, 0] = images[0, 2, 4] = 255
    border = baselines.border_pixels(images)
    assert border.shape == (2, 24) and border[0].tolist() == [255] * 3 + [0] * 18 + [255] * 3
    assert baselines.colours(images).shape == (2, 6) and not baselines.colours(images)[1].any()
    assert baselines.colours(images)[0, 0] == pytest.approx(2 * 255 / 15)
