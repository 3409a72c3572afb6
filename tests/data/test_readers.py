"""Every reader on a miniature of its official layout, and decoding of odd pictures."""

import os
import signal
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import cifar10
import eurosat
import flowers102
from common import class_folders, image_folder
from common.data.checks.image_stats import image_stats
from common.data.images.decode import decode, fit
from common.data.images.open import upright
from common.errors import UserError
from common.models.build import get_backbone
from common.spec import Preprocess

UNCROPPED = Preprocess(size=(16, 16), crop=1.0, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1))


@pytest.mark.parametrize("base", ["images", "images/2750", "images/eurosat/2750"])
def test_eurosat_at_any_depth(class_tree, base: str) -> None:
    classes = eurosat.DATASET.classes
    samples = class_folders(class_tree(classes, n=2, base=base), classes)
    assert samples.names[0] == "AnnualCrop/AnnualCrop_0.jpg" and len(samples) == 20 and samples.parts is None
    assert samples.labels == [i // 2 for i in range(20)]


def test_users_folders_nested_and_with_other_files(class_tree) -> None:
    folder = class_tree(n=3)
    deep = folder / "ant" / "2024" / "may"
    deep.mkdir(parents=True)
    (folder / "ant" / "ant_0.jpg").rename(deep / "UPPER.JPG")
    (folder / "ant" / "Thumbs.db").write_text("x")
    (folder / ".git").mkdir()
    samples = image_folder(folder)
    assert samples.classes == ("ant", "bee", "cow") and "ant/2024/may/UPPER.JPG" in samples.names and len(samples) == 9


def test_parts_of_a_users_folder(class_tree) -> None:
    class_tree(base="images/train")
    folder = class_tree(n=4, base="images/test")
    samples = image_folder(folder)
    assert samples.classes == ("ant", "bee", "cow")
    assert (samples.parts.count("train"), samples.parts.count("test")) == (30, 12)


def test_parts_mixed_with_class_folders(class_tree) -> None:
    class_tree(base="images/train")
    class_tree(base="images/test")
    folder = class_tree(("dog",), base="images")
    with pytest.raises(UserError, match="mixes"):
        image_folder(folder)


def test_cifar(cifar_tree: Path) -> None:
    samples = cifar10.DATASET.load(cifar_tree, cifar10.DATASET.classes)
    assert samples.images.shape == (120, 32, 32, 3) and samples.images.dtype == np.uint8
    assert samples.parts.count("train") == 100 and samples.names[20] == "data_batch_2/00000"
    assert samples.images[0].mean((0, 1)).argmax() == 0  # the first picture is red: planes are in R, G, B order


def test_flowers(flowers_tree: Path) -> None:
    samples = flowers102.DATASET.load(flowers_tree, flowers102.DATASET.classes)
    assert [samples.parts.count(p) for p in ("train", "val", "test")] == [10, 10, 15]
    for name, path, label in zip(samples.names, samples.images, samples.labels, strict=True):
        assert Image.open(path).height == 40 + label, name  # the miniature's height tells its class


def test_wrong_layouts(tmp_path: Path) -> None:
    (tmp_path / "something").mkdir()
    for sheet, says in (
        (eurosat, "no class folder found"),
        (cifar10, "cifar-10-batches-py"),
        (flowers102, "flowers-102/"),
    ):
        with pytest.raises(UserError, match=says):
            sheet.DATASET.load(tmp_path, sheet.DATASET.classes)


def test_a_truncated_mat_file(flowers_tree: Path) -> None:
    path = flowers_tree / "flowers-102" / "setid.mat"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"cannot read setid\.mat"):
        flowers102.DATASET.load(flowers_tree, flowers102.DATASET.classes)


def crash(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_mat_file_that_crashes_scipy(flowers_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scipy.io.loadmat", crash)
    with pytest.raises(UserError, match=r"cannot read imagelabels.mat .* terminated abruptly"):
        flowers102.DATASET.load(flowers_tree, flowers102.DATASET.classes)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "LA", "CMYK", "1", "I;16"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    grey = (
        Image.fromarray(np.full((16, 16), 50_000, np.uint16))
        if mode == "I;16"
        else Image.new("L", (16, 16), 194).convert(mode)
    )
    pixels = fit(grey, (16, 16), UNCROPPED)
    assert pixels.shape == (16, 16, 3) and pixels.dtype == np.uint8
    if mode != "1":
        assert abs(int(pixels.mean()) - 194) <= 1, "50000 of 65535 is 194 of 255; opaque pictures keep their values"


def test_transparent_becomes_white() -> None:
    assert fit(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), (16, 16), UNCROPPED).min() == 255


def test_exif_rotation_is_undone(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 16))
    image.paste((255, 255, 255), (0, 0, 16, 16))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    image.save(tmp_path / "phone.png", exif=exif)
    pixels = fit(Image.open(tmp_path / "phone.png"), (32, 16), UNCROPPED)
    assert pixels[:14].min() == 255 and pixels[18:].max() == 0


def test_an_odd_tag_beside_the_rotation(tmp_path: Path) -> None:
    """ResolutionUnit (0x128) in letters: Pillow reads such a file, and cannot write its tags again."""
    entries = struct.pack("<HHHIHH", 2, 0x112, 3, 1, 6, 0) + struct.pack("<HHI4s", 0x128, 2, 4, b"cm\0\0")
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (32, 16)).save(path, exif=b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(4))
    assert fit(Image.open(path), (32, 16), UNCROPPED).shape == (32, 16, 3)
    (stats,) = image_stats([str(path)])
    assert stats.size == (16, 32) and not stats.upright


@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation(turn: int) -> None:
    image = Image.fromarray(np.arange(18, dtype=np.uint8).reshape(2, 3, 3))
    image.getexif()[0x112] = turn
    assert (np.asarray(upright(image)) == np.asarray(ImageOps.exif_transpose(image))).all()


def test_the_aspect_ratio_is_preserved() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 255  # the middle square
    assert fit(Image.fromarray(wide), (16, 16), UNCROPPED)[:, 1:-1].min() == 255


@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_no_size_is_too_odd(crop: float) -> None:
    """Such as UC Merced's 257 x 253: the side that is to fit exactly must not overshoot by a rounding."""
    uncropped = replace(UNCROPPED, crop=crop, size=(256, 256))
    for width in range(240, 261):
        for height in range(240, 261):
            assert fit(Image.new("L", (width, height)), (256, 256), uncropped).shape == (256, 256, 3)


def test_preprocessing_is_torchvisions() -> None:
    """As the weights were evaluated: resize the shorter side, cut the middle. Within rounding of the odd pixel."""
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 255, (9, 12, 3), np.uint8)).resize((480, 360), Image.Resampling.BICUBIC)
    row = get_backbone("resnet50")
    ours = fit(smooth, (224, 224), row.preprocess()).astype(int)
    theirs = v2.Compose([v2.Resize(232, v2.InterpolationMode.BILINEAR), v2.CenterCrop(224)])(smooth)
    assert np.abs(ours - np.asarray(theirs)).mean() < 1.5


def test_small_native_images_are_stored_small() -> None:
    images = np.zeros((3, 32, 32, 3), np.uint8)
    pixels, bad = decode(images, get_backbone("resnet50").preprocess((128, 128)), (32, 32))
    assert pixels is images and not bad
    pixels, _ = decode(images, UNCROPPED, (32, 32))
    assert pixels.shape == (3, 16, 16, 3)
