"""The picture of the most confident mistakes: which images, and the regions that support the wrong class beside them."""

import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import PLAIN, net

from common.run import plots
from common.run.mistakes import write_mistakes
from common.run.predictions import RunPredictions

N = 20


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict:
    found: dict = {}

    def record(path: Path, images: list[np.ndarray], captions: list[str], title: str) -> None:
        path.touch()
        found.update(images=images, captions=captions)

    monkeypatch.setattr(plots, "mistakes", record)
    return found


def case() -> tuple[SimpleNamespace, RunPredictions]:
    """Test images N..2N of a dataset; every odd one is wrong, the later the surer."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * N, 8, 8, 3), np.uint8)
    pixels.flags.writeable = False  # as in a memory map
    split = SimpleNamespace(test=tuple(range(N, 2 * N)))
    dataset = SimpleNamespace(pixels=pixels, indices=np.arange(2 * N), split=split, preprocess=PLAIN)
    labels = np.zeros(N, int)
    logits = np.stack([np.zeros(N), np.where(np.arange(N) % 2, 1 + np.arange(N), -1)], 1)
    return dataset, RunPredictions(tuple(map(str, range(N))), labels, ("cat", "dog"), logits)


def test_the_surest_come_first(tmp_path: Path, shown: dict) -> None:
    dataset, test = case()
    write_mistakes(tmp_path, "t", dataset, test, None)
    expected = [dataset.pixels[N + i] for i in range(N - 1, 0, -2)]
    assert len(shown["images"]) == 10 and all(map(np.array_equal, shown["images"], expected))
    assert shown["captions"][-1] == "cat\npred: dog, 88 %" and (tmp_path / "mistakes.jpg").exists()


@pytest.mark.draws
def test_each_stands_beside_its_explanation(tmp_path: Path, shown: dict) -> None:
    dataset, test = case()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_mistakes(tmp_path, "t", dataset, test, net())
    images, scale = shown["images"], 28  # 8 pixels become 224
    assert all(image.shape == (224, 448, 3) for image in images)
    assert np.array_equal(images[0][::scale, :224:scale], dataset.pixels[2 * N - 1])
    assert not np.array_equal(images[0][:, :224], images[0][:, 224:])


def test_without_mistakes_there_is_no_picture(tmp_path: Path, shown: dict) -> None:
    dataset, test = case()
    right = RunPredictions(test.images, test.logits.argmax(1), test.classes, test.logits)
    write_mistakes(tmp_path, "t", dataset, right, net())
    assert not shown and not list(tmp_path.iterdir())
