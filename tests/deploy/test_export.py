"""What is exported says the same as the run's own network, and all that a user must know."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import nn

import folder
from common import main
from common.__main__ import main as command
from common.data.images.decode import stored_size
from common.deploy import export
from common.models.build import create_model, get_backbone
from common.spec import Preprocess

TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "1"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_tree) -> Path:
    monkeypatch.chdir(tmp_path)
    main(folder.DATASET, [*TINY, "--data_dir", str(class_tree()), "--out", "out"])
    return Path("out")


def expected(run: Path, image: str) -> np.ndarray:
    """The logits that the run itself had for a test image."""
    rows = (run / "predictions.csv").read_text().splitlines()[1:]
    return np.load(run / "test_logits.npy")[[row.split(",")[0] for row in rows].index(image)]


def test_exported_files_reproduce_the_runs_logits(run: Path, capsys: pytest.CaptureFixture) -> None:
    """Pictures in 0..1 in, the run's own logits out; classes and preprocessing are in the file."""
    for kind in ("onnx", "torchscript", "safetensors"):
        command(["export", "out", "--format", kind])
        assert "largest logit difference from the original" in capsys.readouterr().out
    image = (run / "predictions.csv").read_text().splitlines()[1].split(",")[0]
    pixels = np.array(ImageOps.fit(Image.open(Path("images") / image), (36, 36), Image.Resampling.BILINEAR))
    center = torch.from_numpy(pixels[2:34, 2:34]).permute(2, 0, 1)[None].float()
    batch = center.div(255).repeat(3, 1, 1, 1).numpy()

    import onnxruntime
    from safetensors import safe_open

    session = onnxruntime.InferenceSession("out/model.onnx", providers=["CPUExecutionProvider"])
    extra = {"about": ""}
    script = torch.jit.load("out/model.pt", _extra_files=extra)
    outputs = session.run(None, {"images": batch})[0], script(torch.from_numpy(batch)).detach().numpy()
    for logits in outputs:
        np.testing.assert_allclose(logits, np.tile(expected(run, image), (3, 1)), atol=1e-5)
    np.testing.assert_allclose(*outputs, atol=1e-5)
    with safe_open("out/model.safetensors", "pt") as file:
        told = [session.get_modelmeta().custom_metadata_map["about"], extra["about"], file.metadata()["about"]]
    for about in map(json.loads, told):
        assert about["classes"] == ["ant", "bee", "cow"] and about["backbone"] == "timm:test_resnet"
        assert about["preprocess"]["size"] == [32, 32] and about["temperature"] > 0
        assert about["preprocess"]["crop"] == 0.8888 and "crop_pct" not in about["preprocess"], "one crop for others"
    for about in map(json.loads, told[:2]):
        assert "normalised inside" in about["input"] and "temperature" in about["output"]
    assert "input" not in json.loads(told[2]), "weights alone do not normalise"


@pytest.mark.parametrize("crop_pct", [0.5, 0.875, 0.925, None])
def test_others_resize_to_the_size_of_decoded_images(crop_pct: float | None) -> None:
    for side in range(8, 400):
        preprocess = replace(get_backbone("resnet50").preprocess((side, side)), crop_pct=crop_pct)
        crop = export.with_one_crop({"preprocess": preprocess, "native": None}).crop
        assert int(side / crop) == stored_size(preprocess, None)[0], "as timm rounds it"


class Windows(nn.Module):
    """Attention within windows as in timm's Hiera: (batch, heads, windows, tokens, channels)."""

    def __init__(self) -> None:
        super().__init__()
        self.fused_attn = True
        self.head = nn.Linear(12, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = images.reshape(-1, 1, 4, 64, 12)
        if self.fused_attn:
            seen = F.scaled_dot_product_attention(tokens, tokens, tokens)
        else:
            seen = (tokens @ tokens.transpose(-1, -2) / 12**0.5).softmax(-1) @ tokens
        return self.head(seen.mean((1, 2, 3)))


def test_attention_of_five_dimensions(tmp_path: Path) -> None:
    plain = Preprocess(size=(32, 32), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    net = Windows().eval()
    assert export.write_verified(net, {"preprocess": plain, "native": None}, "onnx", tmp_path / "x.onnx") <= 1e-4
    assert net.fused_attn, "as it was"


def test_nothing_is_overwritten(run: Path, capsys: pytest.CaptureFixture) -> None:
    Path("mine.pt").write_text("mine")
    for words, says in (
        (["out", "--format", "torchscript", "-o", "mine.pt"], "mine.pt exists already"),
        (["images"], "no trained model in images"),
        (["out", "-o", "nowhere/mine.onnx"], "no folder nowhere for mine.onnx"),
        (["nowhere"], "no trained model in nowhere"),
    ):
        with pytest.raises(SystemExit) as stop:
            command(["export", *words])
        assert stop.value.code == 2 and says in capsys.readouterr().err
    assert Path("mine.pt").read_text() == "mine"


def test_a_missing_package_is_named(run: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "onnxruntime" else object())
    with pytest.raises(SystemExit):
        command(["export", "out"])
    assert "pip install onnxruntime" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_a_network_that_comes_out_otherwise_is_not_handed_over(tmp_path: Path, monkeypatch, wrong) -> None:
    """At one of the batch sizes alone, too."""
    plain = Preprocess(size=(32, 32), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)
    net = create_model(get_backbone("timm:test_resnet"), 3, None).eval()
    read = export._read_torchscript
    monkeypatch.setattr(
        export, "_read_torchscript", lambda path: lambda x: read(path)(x) + (wrong if len(x) == 7 else 0)
    )
    with pytest.raises(RuntimeError, match="differs by"):
        export.write_verified(net, {"preprocess": plain, "native": None}, "torchscript", tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())
