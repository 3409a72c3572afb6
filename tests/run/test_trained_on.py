"""Weights of one of our runs know what they were trained on: another run counts it among its test images."""

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny import TINY

import folder
from common import main
from common.run.results import read_model_card, read_trained_on


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals) -> Callable[..., dict]:
    monkeypatch.chdir(tmp_path)

    def run(out: str, data: Path, *options: str) -> dict:
        small = [*TINY[:-2], "--steps", "2", "--eval_every", "2"]
        main(folder.DATASET, [*small, "--data_dir", str(data), "--out", out, *options])
        return json.loads(Path(out, "result.json").read_text())

    return run


def test_test_images_that_the_weights_have_seen(run: Callable, class_tree: Callable, capsys) -> None:
    images = class_tree(n=20)
    first = run("first", images)
    weights = Path("first/best.safetensors")
    assert len(read_trained_on(weights)) == 4 * -(-48 * 8 // 3), "base64 of 48 hashes, of train and validation"
    assert "trained_on" not in read_model_card(weights)
    assert first["test_disjoint"] is None and "trained on by" not in capsys.readouterr().err

    # other names give another split: some of its test images are among the training images of the first run
    for path in [*images.rglob("*.jpg")]:
        path.rename(path.with_stem(f"renamed_{path.stem}"))
    second = run("second", images, "--weights", str(weights))
    (caveat,) = [text for text in second["caveats"] if "trained on by" in text]
    assert caveat in capsys.readouterr().err
    n = int(caveat.split()[0])
    assert 0 < n <= 12 and f"{n} of the 12 test images" in caveat
    assert second["test_disjoint"]["shared"] == n and second["test_disjoint"]["images"] == 12 - n

    # the second run's weights still know what the first run has seen
    third = run("third", images, "--weights", "second/best.safetensors", "--seed", "1")
    assert third["test_disjoint"]["shared"] == n
    assert len(b64decode(read_trained_on(Path("third/best.safetensors")))) == 8 * (60 - (12 - n))


def test_weights_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"not safetensors")
    assert read_trained_on(tmp_path / "a.pth") == "" and read_trained_on(tmp_path / "none") == ""


def test_a_finished_run_says_how_to_go_on(run: Callable, class_tree: Callable, capsys) -> None:
    run("out", class_tree())
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, ["--resume", "out"])
    assert stop.value.code == 2
    assert "start a new run with --weights out/best.safetensors" in capsys.readouterr().err
