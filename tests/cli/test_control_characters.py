"""Control characters of names and images reach no terminal; spreadsheets find no formulas."""

import csv
import re
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, make_class_tree

from common.data.splits import split_file
from common.errors import printable_lines
from common.files.csv_text import escape, unescape
from common.run.predictions import RunPredictions, read_predictions, write_confusion, write_predictions
from common.spec import Samples, Split

ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")
EVIL = "ant\x1b[31m\r\x07"


def test_what_progress_bars_write_stays() -> None:
    for text in ("\rdecode: 50%|█████     | 5/10", "\r" + 20 * " " + "\r", "\n\n", "\x1b[A", "\n\x1b[A", "a\tb\n"):
        assert printable_lines(text) == text
    assert printable_lines("\rone\rtwo\x1b[2J\x9b31m\n") == "\rone\\rtwo\\x1b[2J\\x9b31m\n"


def test_names_of_classes_and_images(tmp_path: Path) -> None:
    images = make_class_tree(tmp_path, (EVIL, "bee"), n=6)
    (images / EVIL / "broken\x1b]0;title\x07.jpg").write_bytes(b"no image")
    run = subprocess.run(
        [sys.executable, "-m", "common", "check", str(images), "--group_by", "none", "--out", str(tmp_path / "found.csv")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert "broken\\x1b]0;title\\x07.jpg" in run.stdout and not ESCAPES.search(run.stdout + run.stderr)


CELLS = ["=1+1", "+1", "-1", "@x", "\tx", "'=1", "''+1", "'", "'x", "", "x=1", "1", "-"]


def test_cells_read_back() -> None:
    assert [unescape(escape(cell)) for cell in CELLS] == CELLS
    assert [escape(cell) for cell in ("=1", "'=1", "'x", "1")] == ["'=1", "''=1", "'x", "1"]
    assert not [cell for cell in map(escape, CELLS) if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]


def test_a_split_reads_back(tmp_path: Path) -> None:
    """Written twice, the same bytes; no cell is a formula."""
    classes = ("-a", "=b", "c")
    samples = Samples(images=None, names=[f"{cell}/{i}.jpg" for i, cell in enumerate(CELLS)], labels=[i % 3 for i in range(len(CELLS))], classes=classes)  # fmt: skip
    split = Split(train=tuple(range(8)), val=(8, 9), test=tuple(range(10, len(CELLS))), fingerprint="")
    split_file.write(tmp_path / "split.csv", samples, split)
    parts = split_file.apply(tmp_path / "split.csv", samples).parts
    assert parts == ["train"] * 8 + ["val"] * 2 + ["test"] * (len(CELLS) - 10)
    with open(tmp_path / "split.csv", newline="", encoding="utf-8") as file:
        assert not [cell for row in csv.reader(file) for cell in row if cell[:1] in ("=", "+", "-", "@", "\t")]


def test_predictions_read_back(tmp_path: Path) -> None:
    import numpy as np

    labels, classes = np.arange(len(CELLS)) % 2, ("=dog", "-cat")
    logits = np.random.default_rng(0).normal(size=(len(CELLS), 2)).astype(np.float32)
    found = RunPredictions(tuple(CELLS), labels, classes, logits, np.array(CELLS))
    write_confusion(tmp_path, np.eye(2, dtype=int), classes)
    for part in ("val", "test"):
        write_predictions(tmp_path, found, part)
        back = read_predictions(tmp_path, part)
        assert (back.images, back.classes, list(back.groups)) == (found.images, classes, CELLS)
        assert (back.labels == labels).all() and (back.logits == logits).all()
    with open(tmp_path / "predictions.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {"'=dog", "'-cat"} and all(float(row["probability"]) for row in rows)
