"""What a run's network costs to serve, and what int8 does to its accuracy."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from fabricated import make_run
from onnx import TensorProto, helper, numpy_helper
from tiny import PLAIN, TINY, net

import folder
from common import main
from common.__main__ import main as command
from common.data.dataset import LoadedDataset
from common.deploy import serve
from common.deploy.quantize import quantize
from common.errors import UserError
from common.spec import Samples, Split


def brightness_network(path: Path) -> Path:
    """(B, 3, 8, 8) -> (B, 2) logits: the first is the mean brightness, the second 0.5."""
    weights = {"w": np.full((1, 3, 1, 1), 1 / 3, np.float32), "a": np.array([[1.0, 0.0]], np.float32)}
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["grey"]),
        helper.make_node("GlobalAveragePool", ["grey"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["flat"]),
        helper.make_node("Gemm", ["flat", "a", "b"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(v, k) for k, v in {**weights, "b": np.array([0, 0.5], np.float32)}.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def grey_images() -> LoadedDataset:
    """40 images, 30 of them for training, as bright as their position; class 0 from 128 on."""
    levels = np.linspace(0, 255, 40).astype(np.uint8)
    names = tuple(map(str, range(40)))
    return LoadedDataset(
        samples=Samples(images=None, names=names, labels=[int(v < 128) for v in levels], classes=("a", "b")),
        pixels=np.broadcast_to(levels[:, None, None, None], (40, 8, 8, 3)).copy(),
        indices=np.arange(40),
        split=Split(train=tuple(i for i in range(40) if i % 4), val=(), test=tuple(range(0, 40, 4)), fingerprint=""),
        preprocess=PLAIN,
        n_unreadable=0,
        conflicts={},
    )


def test_int8_is_close_to_float(tmp_path: Path) -> None:
    dataset, model, out = grey_images(), brightness_network(tmp_path / "model.onnx"), tmp_path / "int8.onnx"
    images = serve._images(dataset, np.array(dataset.split.train))
    assert images.shape == (30, 3, 8, 8) and images.max() == 1
    quantize(model, out, images)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(out).graph.node}
    logits = [onnxruntime.InferenceSession(f).run(None, {"images": images})[0] for f in (model, out)]
    assert 0 < np.abs(logits[0] - logits[1]).max() < 0.02
    compared = serve._compare(*map(serve._onnx_network, (model, out)), dataset)
    assert compared["n"] == 10 and compared["top1"] == 1 and compared["int8_top1"] >= 0.9
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.onnx", "model.onnx"]


def test_the_comparison_is_paired() -> None:
    """int8 loses two of ten images that float has right, and wins none."""
    dataset = grey_images()
    right = lambda images: np.stack([images.mean((1, 2, 3)), np.full(len(images), 0.5)], 1)  # noqa: E731
    worse = lambda images: np.stack([images.mean((1, 2, 3)), np.full(len(images), 0.65)], 1)  # noqa: E731
    found = serve._compare(right, worse, dataset)
    wrong = sum(0.5 < dataset.pixels[i].mean() / 255 < 0.65 for i in dataset.split.test)
    assert wrong and found["top1"] == 1 and found["difference"] == pytest.approx(-wrong / 10)
    low, high = found["interval"]
    assert low < found["difference"] < high and found["p"] == pytest.approx(0.5 ** (int(wrong) - 1))


@pytest.mark.slow  # an ONNX export
def test_latency_and_int8_of_a_run(tmp_path: Path, monkeypatch, class_tree, quick_intervals, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(serve, "SECONDS", 0.0)
    monkeypatch.setattr(serve, "MIN_CALLS", 2)
    main(folder.DATASET, [*TINY, "--epochs", "1", "--data_dir", str(class_tree()), "--out", "out"])
    command(["bench", "--serve", "out"])
    row = json.loads(Path("out/serve.json").read_text())
    assert {engine["engine"] for engine in row["engines"]} == {"PyTorch", "ONNX Runtime", "ONNX Runtime int8"}
    assert all(0 < e["p50_ms"] <= e["p95_ms"] and e["images_per_second"] > 0 for e in row["engines"])
    sizes = {engine["engine"]: engine["file_bytes"] for engine in row["engines"]}
    assert sizes["ONNX Runtime int8"] < 0.6 * sizes["PyTorch"]
    result = json.loads(Path("out/result.json").read_text())
    assert row["int8"]["n"] == 6 and row["int8"]["top1"] == pytest.approx(result["test"]["top1"]["value"])
    assert "instead of" in capsys.readouterr().out


def test_every_engine_is_timed(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(serve, "SECONDS", 0.0)
    monkeypatch.setattr(serve, "MIN_CALLS", 2)
    model, images = brightness_network(tmp_path / "model.onnx"), np.zeros((4, 3, 8, 8), np.float32)
    threads = torch.get_num_threads()
    rows = [serve._measure_onnx("ONNX Runtime", model, images, 1), serve._measure_torch(net(), images, 2, model)]
    assert [(row["engine"], row["threads"]) for row in rows] == [("ONNX Runtime", 1), ("PyTorch", 2)]
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p95_ms"] and row["images_per_second"] > 0
        assert row["file_bytes"] == model.stat().st_size
    assert torch.get_num_threads() == threads


def test_a_run_without_its_images(tmp_path: Path, monkeypatch, capsys) -> None:
    """Everything but int8 is measured, and why is said."""

    def measure(run_folder: Path, dataset: LoadedDataset | None) -> dict:
        raise UserError(f"measured {run_folder.name} with {dataset}")

    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    (run / "options.yaml").write_text(f"data_dir: {tmp_path / 'gone'}\nmodel: timm:test_resnet\nweights: none\n")
    monkeypatch.setattr(serve, "measure", measure)
    with pytest.raises(SystemExit):
        command(["bench", "--serve", str(run)])
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"int8 is not measured, it needs the run's images: no data in {tmp_path / 'gone'}")
    assert second == "error: measured run with None"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--serve", "nowhere"], "no trained model in nowhere"),
        (["--serve", "nowhere", "-bs", "8"], "--serve measures a run as it is, on the CPU: drop --batch_size"),
    ],
)
def test_mistakes(options: list[str], message: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command(["bench", *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err
