"""Images without an orientation are turned in training, where the data sheet leaves it open."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny import TINY

import folder
from common import main
from common.run import augment as run_augment
from common.run.results import read_model_card
from common.training.recipes import AUGMENTS

ONE_STEP = [*TINY[:-2], "--steps", "1", "--data_dir", "photos", "--out"]


@pytest.fixture
def noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two classes of noise in `photos`, dark and bright, enough for a decision."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_augment, "MIN_IMAGES", 40)
    generator = np.random.default_rng(0)
    for label, most in (("dark", 120), ("bright", 255)):
        Path("photos", label).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(generator.integers(0, most, (32, 32, 3), np.uint8)).save(f"photos/{label}/{i}.png")


def augment_of(out: str) -> tuple[dict, dict | None]:
    result = json.loads(Path(out, "result.json").read_text())
    return result["augment"], result["orientation"]


def test_they_are_turned(noise: None, quick_intervals: None, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    main(folder.DATASET, [*ONE_STEP, "one"])
    augment, found = augment_of("one")
    assert augment == asdict(AUGMENTS["flip"]) | {"dihedral": True} and found["n"] == 48 and found["top1_turned"] > 0.95
    (line,) = [text for text in capsys.readouterr().err.splitlines() if "no orientation" in text]
    assert line.endswith("training adds quarter turns (--augment flip trains without them)")

    monkeypatch.setattr(run_augment, "measure", None)
    main(folder.DATASET, [*ONE_STEP, "two", "--seed", "1", "--image_size", "48"])  # from the cache
    assert augment_of("two") == (augment, found)
    main(folder.DATASET, [*ONE_STEP, "flips", "--augment", "flip"])
    assert augment_of("flips") == (asdict(AUGMENTS["flip"]), None)
    crops = {read_model_card(Path(out, "best.safetensors"))["preprocess"].crop_pct for out in ("one", "two", "flips")}
    assert crops == {0.875}, "turns do not change what was decoded"


def test_few_images_are_not(noise: None, quick_intervals: None, capsys) -> None:
    main(folder.DATASET, [*ONE_STEP, "few", "--shots", "15"])
    augment, found = augment_of("few")
    assert augment == asdict(AUGMENTS["flip"]) and found is None
    assert "orientation" not in capsys.readouterr().err
