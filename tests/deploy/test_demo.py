"""The demo: one page, one kind of request, nothing else is read; in a browser, where Playwright and one are installed."""

import base64
import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fabricated import make_run
from miniatures import picture
from PIL import Image

from common.__main__ import main as command
from common.deploy import demo
from common.deploy.predict import predict

SIDE = 32


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run", "timm:test_resnet", SIDE)


@pytest.fixture
def server(run: Path) -> Iterator[demo.DemoServer]:
    with demo.make_server(run, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def ask(server: demo.DemoServer, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, dict, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    return answer.status, dict(answer.headers), answer.read()


def jpeg() -> bytes:
    file = io.BytesIO()
    picture(7, (50, 40), hue=1).save(file, "JPEG")
    return file.getvalue()


def test_an_image_is_classified_as_by_predict(server: demo.DemoServer, run: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(jpeg())
    status, headers, content = ask(server, "POST", "/classify", jpeg())
    answer = json.loads(content)
    ((_, ranked),) = predict(run, [tmp_path / "photo.jpg"], top=3)
    assert status == 200 and headers["Content-Type"] == "application/json"
    assert [row["name"] for row in answer["classes"]] == [name for name, _ in ranked]
    assert [row["probability"] for row in answer["classes"]] == pytest.approx([p for _, p in ranked], abs=1e-6)
    png = Image.open(io.BytesIO(base64.b64decode(answer["picture"].partition(",")[2])))
    assert png.size == (448, 224) and answer["method"] == "Grad-CAM"


def test_the_page(server: demo.DemoServer) -> None:
    status, headers, content = ask(server, "GET", "/")
    page = content.decode()
    assert status == 200 and "<title>run</title>" in page and "timm:test_resnet, 3 classes" in page
    assert "http://" not in page and "https://" not in page, "it loads nothing from elsewhere"
    assert "default-src 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/../run/result.json", b"", {}, 404),
        ("GET", "/best.safetensors", b"", {}, 404),
        ("GET", "/etc/passwd", b"", {}, 404),
        ("POST", "/", b"x", {}, 404),
        ("POST", "/classify", b"no image", {}, 400),
        ("POST", "/classify", b"", {}, 400),
        ("POST", "/classify", b"x", {"Content_Length": "many"}, 411),
        ("POST", "/classify", b"x", {"Content_Length": str(demo.MAX_BYTES + 1)}, 413),
        ("GET", "/", b"", {"Host": "example.com"}, 403),
        ("POST", "/classify", b"x", {"Origin": "http://example.com"}, 403),
        ("PUT", "/classify", b"x", {}, 501),
    ],
)
def test_anything_else_is_refused(server: demo.DemoServer, method, path, body, headers, status) -> None:
    answered, _, content = ask(server, method, path, body, **headers)
    assert answered == status
    assert b"root:" not in content and str(Path.cwd()).encode() not in content and b"/tmp" not in content
    assert ask(server, "GET", "/")[0] == 200, "it goes on"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["nowhere"], "no trained model in nowhere"),
        (["RUN", "--port", "70000"], "--port 70000: expected 0 to 65535"),
        (["RUN", "--port", "TAKEN"], "choose another --port"),
    ],
)
def test_mistakes(server: demo.DemoServer, run: Path, capsys, options: list[str], message: str) -> None:
    values = {"RUN": str(run), "TAKEN": str(server.server_port)}
    with pytest.raises(SystemExit) as stop:
        command(["demo", *(values.get(option, option) for option in options)])
    assert stop.value.code == 2 and message in capsys.readouterr().err


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(server: demo.DemoServer, browser, scheme: str) -> None:
    """No console error, no horizontal scrolling at 400 pixels, dark when the system is; an image gets its classes."""
    page, problems = browser.new_page(viewport={"width": 400, "height": 800}, color_scheme=scheme), []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(f"http://127.0.0.1:{server.server_port}/")
    page.set_input_files("#file", {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": jpeg()})
    page.wait_for_selector("#picture:not([hidden])")
    assert page.locator("#classes li").count() == 3 and "Grad-CAM" in page.inner_text("#method")
    assert page.get_attribute("#picture", "alt") and page.locator("meter[title]").count() == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = np.mean([int(value) for value in paper[4:-1].split(",")])
    assert (brightness > 128) == (scheme == "light")
    assert not problems
    page.set_input_files("#file", {"name": "text.txt", "mimeType": "text/plain", "buffer": b"no image"})
    page.wait_for_selector("#error:not(:empty)")
    assert "not an image" in page.inner_text("#error") and page.locator("#picture").is_hidden()
