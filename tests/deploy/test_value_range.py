"""The value range of training goes with the weights: predict and export repeat it on images of other brightness."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import TINY

import folder
from common import main
from common.__main__ import main as command
from common.deploy.predict import predict
from common.run.results import read_model_card

SIDE = 32


def write_images(root: Path) -> Path:
    """12 bits in two classes: dark and bright squares."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 300), ("bright", 3600)):
        (root / name).mkdir(parents=True)
        for i in range(20):
            values = rng.integers(level, level + 400, (SIDE, SIDE)).astype(np.uint16)
            Image.fromarray(values).save(root / name / f"{i:02}.png")
    return root


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Path:
    monkeypatch.chdir(tmp_path)
    main(folder.DATASET, [*TINY, "--data_dir", str(write_images(tmp_path / "images")), "--out", "out"])
    Path("log.txt").write_text(capsys.readouterr().err)
    return Path("out")


def test_the_range_is_stored_and_repeated(run: Path, capsys: pytest.CaptureFixture) -> None:
    stored = json.loads((run / "result.json").read_text())["preprocess"]["value_range"]
    assert tuple(stored) == read_model_card(run / "best.safetensors").get("preprocess").value_range
    assert 290 <= stored[0] <= 310 and 3950 <= stored[1] <= 4000
    assert (
        f"values {stored[0]:g} to {stored[1]:g}, estimated on images outside test, become"
        in Path("log.txt").read_text()
    )
    rows = [row.split(",") for row in (run / "predictions.csv").read_text().splitlines()[1:]]
    image, predicted, probability = rows[0][0], rows[0][2], float(rows[0][3])
    card = read_model_card(run / "best.safetensors")
    logits = np.load(run / "test_logits.npy")[0]
    ((_, ranked),) = predict(run, [Path("images") / image], top=2)  # alone, without the bright ones
    expected = torch.from_numpy(logits / card["temperature"]).softmax(0)
    assert ranked[0][0] == predicted and abs(ranked[0][1] - expected.max().item()) < 1e-4 and probability

    command(["export", "out", "--format", "torchscript"])
    extra = {"about": ""}
    script = torch.jit.load("out/model.pt", _extra_files=extra)
    about = json.loads(extra["about"])
    assert about["preprocess"]["value_range"] == stored and "as stored" in about["input"]
    values = np.asarray(Image.open(Path("images") / image)).astype(np.float32)
    exported = script(torch.from_numpy(values).expand(1, 3, SIDE, SIDE)).detach().numpy()[0]
    np.testing.assert_allclose(exported, logits, atol=2e-2)  # the run's pixels have 256 levels


def test_options_of_a_run_repeat_the_range(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = str(write_images(tmp_path / "images"))
    pixels = ["--value_range", "0", "4095", "--bands", "1", "1", "1"]
    main(folder.DATASET, [*TINY, "--epochs", "1", "--data_dir", images, *pixels, "--out", "first"])
    options = yaml.safe_load(Path("first/options.yaml").read_text())
    assert options["value_range"] == [0, 4095] and options["bands"] == [1, 1, 1]
    main(folder.DATASET, ["--config", "first/options.yaml", "--out", "second"])
    first, second = (json.loads(Path(run, "result.json").read_text()) for run in ("first", "second"))
    assert first["preprocess"] == second["preprocess"] and first["test"] == second["test"]
    assert first["preprocess"]["value_range"] == [0, 4095] and first["preprocess"]["bands"] == [1, 1, 1]


def test_weights_without_a_range(run: Path, tmp_path: Path) -> None:
    with safe_open(run / "best.safetensors", "pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    del about["preprocess"]["value_range"]
    assert "bands" not in about["preprocess"], "fields that are not set are not written"
    (tmp_path / "old").mkdir()
    save_file(tensors, tmp_path / "old" / "best.safetensors", {"about": json.dumps(about)})
    assert read_model_card(tmp_path / "old" / "best.safetensors")["preprocess"].value_range is None
    image = next(Path("images").rglob("*.png"))
    ((_, ranked),) = predict(tmp_path / "old", [image], top=2)  # integers: by the full 16 bits
    assert abs(sum(p for _, p in ranked) - 1) < 1e-4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--value_range", "9", "9"], "--value_range 9 9: expected LOW below HIGH"),
        (["--bands", "0", "1", "2"], "--bands 0 1 2: expected numbers from 1"),
    ],
)
def test_values_that_make_no_sense(class_tree, capsys: pytest.CaptureFixture, options, message) -> None:
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, [*TINY, "--data_dir", str(class_tree()), *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err
