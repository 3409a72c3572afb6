"""Weights that are missing: named once, without a request per file; what packages bring is added."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from folders import class_folders, noise, run_recommend

from common.models.registry import BACKBONES
from common.recommend import candidates, cost_model

NO_SERVER = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file is in torch.hub's cache, and the proxy does not answer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("https_proxy", NO_SERVER)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})
    candidates.is_online.cache_clear()
    yield
    candidates.is_online.cache_clear()


@pytest.mark.parametrize("offline", [False, True])
def test_packaged_weights_replace_missing_ones(offline: bool) -> None:
    found = candidates.find(None, offline)
    names = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
    assert [row.name for row in found.usable] == names and found.added == names[1:]
    assert len(found.missing) == len(BACKBONES) - 1 and not found.invalid
    assert found.missing["resnet50"].endswith("hub/checkpoints/resnet50-11ad3fa6.pth")
    assert not candidates.find(BACKBONES[:2], offline).added, "the user named the backbones"


def test_no_network_is_said_once(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("noise", {"a": 10, "b": 10}, noise)
    answer = run_recommend("--data_dir", data, "--image_size", "32")
    names = {f"efficientnet_lite{i}" for i in range(3)}
    assert {row["backbone"] for row in answer["backbones"]} == names
    assert "resnet50-11ad3fa6.pth" in answer["left_out"]["resnet50"]
    printed = capsys.readouterr()
    first, *others = printed.err.splitlines()
    assert first == "the weights of 13 of 14 backbones could not be fetched (no network); --details lists the files"
    assert "resnet50" not in "".join(others)
    assert "left out: resnet50, " in printed.out


def test_details_list_the_files(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("noise", {"a": 10, "b": 10}, noise)
    models = ("-model", "resnet", "efficientnet_lite0")
    run_recommend("--data_dir", data, *models, "--image_size", "32", "--offline", "--details")
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.startswith("the weights of 1 of 2 backbones are not on this machine (--offline)")
    assert second.startswith("  resnet50: https://") and second.endswith("resnet50-11ad3fa6.pth")


def test_a_host_is_online_if_it_answers() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        assert candidates.is_online(f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
    assert not candidates.is_online(NO_SERVER)
