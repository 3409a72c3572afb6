"""The contact sheet shows images of every class as the network gets them, and its texts have glyphs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.models.build import get_backbone
from common.run import fonts, plots
from common.run.contact_sheet import LINE, MARGIN, SheetImages, sample_positions, write_contact_sheet
from common.run.fonts import MISSING, drawable, font_for
from common.spec import Augment


def sheet_images(n_classes: int = 3, side: int = 56, augment: Augment = Augment()) -> SheetImages:  # noqa: B008 (frozen)
    labels = np.repeat(np.arange(n_classes), 2)
    pixels = np.zeros((len(labels), side, side, 3), np.uint8)
    pixels[:, :, : side // 2] = 40 + 60 * labels[:, None, None, None]  # left half: the class
    classes = [f"class {label}" for label in range(n_classes)]
    preprocess = get_backbone("resnet50").preprocess((side, side))
    return SheetImages(pixels=pixels, labels=labels, classes=classes, preprocess=preprocess, augment=augment)


def test_every_class_is_shown_with_its_pixels(tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "a.jpg", sheet_images(), "title")
    sheet = np.asarray(Image.open(tmp_path / "a.jpg").convert("L")).astype(int)
    first_row = sheet[MARGIN + 2 * LINE + 30]
    for level in (40, 100, 160):
        assert (abs(first_row - level) < 6).sum() >= 2 * 50, level


def test_augmented_images_are_below(tmp_path: Path) -> None:
    """Mirrored about half of them, in a second row; without augmentation there is none."""
    plain, flipped = tmp_path / "plain.jpg", tmp_path / "flipped.jpg"
    write_contact_sheet(plain, sheet_images(12), "title")
    write_contact_sheet(flipped, sheet_images(12, augment=Augment(flip=True)), "title")
    heights = [Image.open(path).height for path in (plain, flipped)]
    assert heights[1] > 1.5 * heights[0]


@pytest.mark.parametrize(("n_classes", "per_class"), [(3, 4), (40, 2), (100, 1), (1000, 1)])
def test_the_same_number_of_each_class(n_classes: int, per_class: int) -> None:
    labels = np.arange(10 * n_classes) % n_classes
    allowed = range(0, len(labels), 2) if n_classes % 2 else range(len(labels))
    positions = sample_positions(labels, allowed)
    shown, counts = np.unique(labels[positions], return_counts=True)
    assert set(counts) == {per_class} and set(positions) <= set(allowed)
    assert len(shown) == (n_classes if n_classes <= 400 else 334)
    assert (np.diff(labels[positions]) >= 0).all()


def test_texts_have_glyphs_or_a_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "_font_with", fonts._font_with.__wrapped__)
    default = fonts._default()
    monkeypatch.setattr(fonts, "_upright_fonts", lambda: [default])
    assert drawable("Ünï 猫\x1b[31m\n") == f"Ünï {MISSING}\\x1b[31m\\n"
    file, text = font_for("Ünï 猫")
    assert text == f"Ünï {MISSING}" and "DejaVuSans." in file


@pytest.mark.draws
def test_plots_of_odd_names_raise_no_warnings(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    plots.confusion_matrix(tmp_path / "a.png", np.eye(3, dtype=int), ["Ünï 猫", "\x1b[31mred", "$x$"], "title")
    assert not [str(warning.message) for warning in recwarn if "Glyph" in str(warning.message)]
