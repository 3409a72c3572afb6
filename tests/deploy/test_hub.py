"""A hub folder: timm opens it, other networks by the code of its card; it is uploaded only after a yes."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from fabricated import make_run
from huggingface_hub import ModelCard
from PIL import Image
from tiny import TINY

import folder
from common import main
from common.__main__ import main as command
from common.data.augment.augment import eval_transform
from common.data.images.decode import decode
from common.deploy.load import load_model
from common.deploy.predict import predict
from common.run.results import read_model_card


def blocks(hub: Path) -> list[str]:
    """The code of the card, with the folder's path."""
    card = (hub / "README.md").read_text("utf-8")
    return [block.replace("path/to/this/folder", str(hub)) for block in re.findall(r"```python\n(.*?)```", card, re.S)]


def test_timm_opens_a_runs_folder(tmp_path: Path, monkeypatch, class_tree, quick_intervals, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    main(
        folder.DATASET,
        [
            *TINY,
            "--epochs",
            "1",
            "--mixup_alpha",
            "0.2",
            "--crop_pct",
            "1",
            "--data_dir",
            str(class_tree()),
            "--out",
            "out",
        ],
    )
    command(["export", "out", "--format", "hub"])
    hub, run = Path("out/hub"), Path("out")
    assert {path.name for path in hub.iterdir()} == {"README.md", "config.json", "model.safetensors", "confusion.png"}

    images = torch.randn(2, 3, 32, 32)
    expected = load_model(run, read_model_card(run / "best.safetensors")).net(images)
    assert torch.equal(timm.create_model("local-dir:out/hub", pretrained=True).eval()(images), expected)
    config = timm.data.resolve_model_data_config(timm.create_model("local-dir:out/hub", pretrained=True))
    assert list(config["input_size"]) == [3, 32, 32] and config["crop_pct"] == 1.0

    image = next(Path("images").rglob("*.jpg"))
    space: dict = {}
    for block in blocks(hub):
        exec(block.replace("photo.jpg", str(image)), space)
    ((_, ranked),) = predict(run, [image], top=3)
    assert dict(zip(space["names"], space["probabilities"].tolist(), strict=True)) == pytest.approx(
        dict(ranked), abs=1e-4
    )

    result = json.loads((run / "result.json").read_text())
    card = (hub / "README.md").read_text()
    rate = result["recipe"]["phases"][0]["lr"]
    assert f"of 8 images, peak learning rate {rate:g}, cosine schedule, weight decay 0.05, layer decay 1" in card
    assert "| initial head | random |" in card and "| mixup | alpha 0.2 |" in card
    scores = {score.metric_name: score.metric_value for score in ModelCard.load(hub / "README.md").data.eval_results}
    assert scores == pytest.approx({name: score["value"] for name, score in result["test"].items()}, abs=1e-5)
    with pytest.raises(SystemExit) as stop:
        command(["export", "out", "--format", "hub"])
    assert stop.value.code == 2 and "out/hub exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "side", "loader"),
    [
        ("torchvision:squeezenet1_1", 64, "load_squeezenet"),
        ("shufflenet_v2_x2_0", 32, "load_torchvision"),
        ("wavemix", 32, "load_wavemix"),
        ("vgg11_cifar", 32, "load_in_checkout"),
    ],
)
def test_the_cards_code_opens_other_networks(tmp_path: Path, model: str, side: int, loader: str) -> None:
    run = make_run(tmp_path / "run", model, side)
    command(["export", str(run), "--format", "hub", "-o", str(tmp_path / "hub")])
    code, space = blocks(tmp_path / "hub")[0], {}
    assert code.startswith(f"def {loader}(folder):")
    exec(code, space)
    images = torch.randn(2, 3, side, side)
    expected = load_model(run, read_model_card(run / "best.safetensors")).net(images)
    with torch.inference_mode():
        torch.testing.assert_close(space["net"](images), expected, rtol=1e-4, atol=1e-5)


def test_the_card(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    command(["export", str(run), "--format", "hub"])
    card = (run / "hub" / "README.md").read_text("utf-8")
    assert r"| bee \| wasp | 5 | 80.0 [37.6, 96.4] | 80.0 [37.6, 96.4] | 80.0 [" in card
    assert r"| &lt;cow> | 0 | no image | 0.0 [0.0, 79.3] | 0.0 [0.0, 79.3] | no image |" in card
    assert "| Top-1 accuracy (%) | 81.82 | 52.00 to 95.00 |" in card and "| NLL | 0.500 | 0.400 to 0.600 |" in card
    assert "\n\n- Invented.\n\n" in card and "(confusion.png)" in card
    config = json.loads((run / "hub" / "config.json").read_text())
    assert config["label_names"] == ["ant", "bee | wasp", "<cow>"]
    assert config["pretrained_cfg"]["crop_pct"] == 0.8888 and "bleed=0.0556)" in card, "32 of 36 pixels"


@pytest.mark.parametrize("squash", [False, True])
@pytest.mark.parametrize("native", [None, (16, 16)])
def test_the_cards_code_shows_what_evaluation_sees(
    tmp_path: Path, squash: bool, native: tuple[int, int] | None
) -> None:
    run = make_run(tmp_path / "run", "timm:test_resnet", 32, squash=squash, native=native)
    card, net = read_model_card(run / "best.safetensors"), Recorder()
    waves(*(native or (60, 40))).save(tmp_path / "photo.png")
    command(["export", str(run), "--format", "hub", "-o", str(tmp_path / "hub")])
    exec(blocks(tmp_path / "hub")[1].replace("photo.jpg", str(tmp_path / "photo.png")), {"net": net})
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (card["preprocess"].mean, card["preprocess"].std))
    difference = net.images[0] * std + mean - seen_in_evaluation(tmp_path / "photo.png", card)
    assert difference.abs().mean() < (0.03 if native else 0.01), "half a pixel at the edge: 0.02"
    sentence = "images of 16x16 pixels whose center was enlarged"
    assert (sentence in (tmp_path / "hub" / "README.md").read_text("utf-8")) == bool(native)


@pytest.mark.parametrize(("size", "tolerance"), [((90, 90), 1e-5), ((90, 60), 0.1)])
def test_timms_transform_shows_what_evaluation_sees(tmp_path: Path, size: tuple[int, int], tolerance: float) -> None:
    """Of a rectangle timm crops whole pixels, half a pixel off."""
    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    waves(*size).save(tmp_path / "photo.png")
    command(["export", str(run), "--format", "hub", "-o", str(tmp_path / "hub")])
    net = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True)
    config = timm.data.resolve_model_data_config(net)
    images = timm.data.create_transform(**config | {"mean": (0, 0, 0), "std": (1, 1, 1)})(
        Image.open(tmp_path / "photo.png")
    )
    expected = seen_in_evaluation(tmp_path / "photo.png", read_model_card(run / "best.safetensors"))
    assert (images - expected).abs().mean() < tolerance


def waves(width: int, height: int) -> Image.Image:
    """A picture that differs from itself a pixel on."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    gray = 127.5 + 127.5 * np.sin(2 * np.pi * (x + y) / 14)
    return Image.fromarray(gray.astype(np.uint8)).convert("RGB")


def seen_in_evaluation(path: Path, card: dict) -> torch.Tensor:
    """(3, H, W) in 0..1."""
    pixels, _ = decode([str(path)], card["preprocess"], card["native"])
    return eval_transform(torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255, card["preprocess"])[0]


class Recorder:
    """A network that records its input."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.images = images
        return torch.zeros(1, 3)


class Hub(BaseHTTPRequestHandler):
    """What the client of huggingface_hub needs for an upload; `server.files` are those that arrived."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.append(self.path)
        answer: dict = {"errors": [], "warnings": []}
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            answer = {"url": "http://127.0.0.1/user/name"}
        elif self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            answer = {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        elif self.path.endswith("/commit/main"):
            lines = [json.loads(line) for line in body.splitlines()]
            self.server.files |= {
                line["value"]["path"]: base64.b64decode(line["value"]["content"])
                for line in lines
                if line["key"] == "file"
            }
            answer = {"commitUrl": "http://127.0.0.1/user/name/commit/0", "commitOid": "0", "success": True}
        content = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.paths, server.files, server.created, server.status = [], {}, None, 200
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_upload(tmp_path: Path, hub_server, monkeypatch, capsys) -> None:
    """With --yes, or after a yes; an edited card is uploaded as it is."""
    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    push = ["export", str(run), "--format", "hub", "--push", "user/name"]
    command([*push, "--yes"])
    hub = run / "hub"
    assert hub_server.created["name"] == "name" and "private" in (
        hub_server.created.get("visibility"),
        hub_server.created.get("private") and "private",
    )
    assert hub_server.files == {path.name: path.read_bytes() for path in hub.iterdir()}
    assert capsys.readouterr().out.splitlines()[-1] == f"{hub} -> http://127.0.0.1/user/name"

    (hub / "README.md").write_text("mine")
    (hub / "notes.txt").write_text("not for the Hub")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: "y\n", raising=False)
    command(push)
    assert hub_server.files["README.md"] == b"mine" and "notes.txt" not in hub_server.files
    assert "upload README.md, config.json, model.safetensors, confusion.png of " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--push", "user/name"], "there is no terminal: add --yes"),
        (["--push", "user/name", "--yes"], "the Hugging Face Hub rejected user/name"),
        (["--push", "a name", "--yes"], "--push a name: expected USER/NAME"),
        (["--push", "name", "--yes"], "--push name: expected USER/NAME"),
        (["--push", "user/name", "--format", "onnx"], "--push uploads a hub folder: add --format hub"),
    ],
)
def test_an_upload_that_is_refused(tmp_path: Path, hub_server, capsys, options, message) -> None:
    hub_server.status = 403
    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    with pytest.raises(SystemExit) as stop:
        command(["export", str(run), "--format", "hub", *options])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and len(error.splitlines()) == 1
    assert not hub_server.files
