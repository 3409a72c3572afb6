"""Pictures under several labels: a run counts them, `--drop_conflicts` leaves all their copies out."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny import TINY

import folder
from common.cli.parse import make_config, parse
from common.data.checks.conflicts import find_conflicts
from common.data.dataset import LoadedDataset, load_dataset
from common.models.build import get_backbone
from common.run.config import static_config
from common.training import recipes


@pytest.fixture
def load(class_tree: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """The dataset of a run on 60 images, with options, and the lines that it logs."""
    monkeypatch.chdir(tmp_path)
    images = class_tree(n=20)
    for i in range(3):
        shutil.copy(images / "ant" / f"ant_{i}.jpg", images / "bee" / f"again_{i}.jpg")
    shutil.copy(images / "ant" / "ant_0.jpg", images / "ant" / "again.jpg")  # also among the copies of a conflict
    shutil.copy(images / "cow" / "cow_0.jpg", images / "cow" / "again.jpg")  # a copy, but no conflict

    def run(*options: str) -> tuple[LoadedDataset, list[str], dict]:
        argv = [*TINY, "--data_dir", str(images), "--out", "out", *options]
        config = make_config((folder.DATASET,), parse((folder.DATASET,), argv))
        row, lines = get_backbone(config.model), []
        dataset = load_dataset(config, row.preprocess(config.image_size), lambda record: lines.append(record["data"]))
        return dataset, lines, static_config(config, row, recipes.PROBE, dataset)

    return run


def test_a_run_counts_them(load: Callable) -> None:
    dataset, lines, settings = load()
    assert len(dataset.samples) == 65 and settings["skipped_images"] == 0
    assert settings["conflicts"] == {"sets": 3, "images": 7, "dropped": False}
    assert lines[-1] == (
        "3 pictures are under several labels, such as ant/again.jpg and ant/ant_0.jpg: --drop_conflicts leaves their 7 images out"
    )


def test_all_copies_are_left_out(load: Callable) -> None:
    dataset, lines, settings = load("--drop_conflicts")
    assert len(dataset.samples) == 58 and settings["skipped_images"] == 0
    assert settings["conflicts"] == {"sets": 3, "images": 7, "dropped": True}
    assert lines[-1].endswith("their 7 images are left out")
    names = set(dataset.samples.names)
    assert not names & {f"ant/ant_{i}.jpg" for i in range(3)} and "cow/again.jpg" in names
    split = dataset.split
    assert sorted(split.train + split.val + split.test) == list(range(58))
    for name, position in zip(dataset.samples.names, dataset.indices, strict=True):
        assert dataset.samples.images[position].endswith(name)


def test_equal_rows_are_not_enough() -> None:
    pixels = np.zeros((4, 16, 8, 3), np.uint8)
    pixels[1, 0] = 1  # differs in a row that is not compared first
    assert find_conflicts(pixels, [0, 1], [0, 1]) == []
    assert find_conflicts(pixels, [0, 1, 1, 0], [0, 1, 2, 3]) == [[0, 2, 3]]
    assert find_conflicts(pixels, [4, 9, 9, 5], [3, 0]) == [[3, 0]]
