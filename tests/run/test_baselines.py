"""What scores without training: the largest class, file metadata, border pixels, colours, a frozen network."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from tiny import PLAIN, TINY

import folder
from common import main
from common.__main__ import main as command
from common.data.dataset import LoadedDataset
from common.run import baselines
from common.spec import Samples, Split

NO_EPOCHS = TINY[:-2]


@pytest.fixture
def told_by_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes of noise, the larger one PNG, the other JPEG."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for label, suffix, n in (("calm", ".png", 60), ("wild", ".jpg", 40)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(n):
            image = Image.fromarray(generator.integers(0, 255, (6, 6, 3), np.uint8)).resize((32, 32), 3)
            image.save(tmp_path / "photos" / label / f"{i}{suffix}")
    return tmp_path / "photos"


def test_every_result_has_them(told_by_format: Path, quick_intervals, monkeypatch, capsys) -> None:
    options = ["--data_dir", str(told_by_format), "--steps", "2", "--eval_every", "2"]
    main(folder.DATASET, [*NO_EPOCHS, *options, "--out", "one"])
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("baselines")]
    assert line.startswith("baselines: AUROC on 20 test images: largest class 50.0 %, file metadata 100.0 %, ")
    found = json.loads(Path("one/result.json").read_text())["baselines"]
    assert (found["n_train"], found["n_test"]) == (80, 20)
    scores = found["scores"]
    assert list(scores) == ["largest_class", "file_metadata", "border_pixels", "colours", "frozen_probe"]
    assert scores["largest_class"]["top1"] == 0.6 and scores["largest_class"]["balanced_accuracy"] == 0.5
    assert scores["file_metadata"]["top1"] == 1 and "nll" not in scores["colours"]
    assert all(score["auroc"] < 0.95 for name, score in scores.items() if name != "file_metadata")

    command(["report", "one", "-o", "report.html"])
    assert "Baselines, AUROC on 20 test images: largest class 50.0 %" in Path("report.html").read_text()

    monkeypatch.setattr(baselines, "_predict", None)  # the second run takes them from the cache
    main(folder.DATASET, [*NO_EPOCHS, *options, "--out", "two"])
    assert json.loads(Path("two/result.json").read_text())["baselines"] == found


def test_the_cache_knows_which_images_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the first image all others move up by one; their positions and labels are the same as without the last."""
    monkeypatch.setattr(baselines, "local_extractor", lambda: None)
    images = np.zeros((81, 8, 8, 3), np.uint8)
    images[1:60:2] = 255
    labels = [0, 1] * 30 + [0] * 20
    dataset = LoadedDataset(
        samples=Samples(images=images, names=[str(i) for i in range(80)], labels=labels, classes=("dark", "bright")),
        pixels=images,
        indices=np.arange(80),
        split=Split(train=tuple(range(60)), val=(), test=tuple(range(60, 80)), fingerprint=""),
        preprocess=PLAIN,
        n_unreadable=0,
        conflicts={},
    )
    config = SimpleNamespace(no_cache=False)
    assert baselines.score_baselines(config, dataset)["scores"]["colours"]["top1"] == 1
    dataset = replace(dataset, indices=np.arange(1, 81))
    assert baselines.score_baselines(config, dataset)["scores"]["colours"]["top1"] == 0
