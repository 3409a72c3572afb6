"""A page on localhost to try a finished run's network on images and the camera.

The standard library's server: Gradio 6.31 has 28 requirements and sends usage statistics by default. This one serves one page and
classifies what is posted to it; no address names a file. Only requests that name this server and come from its own page
are answered, so no other web page can use it.
"""

import base64
import io
import json
import sys
import tempfile
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ..errors import UserError
from ..models.explain import picture
from ..run import results
from .classifier import Classifier, load_classifier

MAX_BYTES = 20_000_000  # of an image
TIMEOUT = 30  # seconds that a client may be silent
TOP = 5
PAGE, CLASSIFY = "/", "/classify"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data: blob:; media-src blob:"


class DemoServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], run_folder: Path, classifier: Classifier):
        self.classifier, self.lock = classifier, threading.Lock()
        self.page = render_page(run_folder, classifier).encode()
        super().__init__(address, Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client left
            super().handle_error(request, client_address)

    def classify(self, content: bytes) -> dict[str, Any]:
        """{"classes": [{"name", "probability"}, ...], "method", "picture": a PNG as data URL} or {"error"}."""
        with tempfile.TemporaryDirectory() as folder, self.lock:
            file = Path(folder, "image")
            file.write_bytes(content)
            try:
                predictions = self.classifier.predict([str(file)])
            except UserError as error:  # too large for the memory
                return {"error": str(error).replace(str(file), "it")}
            if predictions.unreadable:
                return {
                    "error": f"not an image that can be read ({predictions.unreadable[0].replace(str(file), 'it')})"
                }
            values, labels = predictions.probabilities[0].topk(min(TOP, predictions.probabilities.shape[1]))
            (heat,), png = self.classifier.explain(predictions), io.BytesIO()
            picture(predictions.batches.display(0), heat).save(png, "PNG")
        names = self.classifier.model.card["classes"]
        return {
            "classes": [
                {"name": names[label], "probability": p}
                for label, p in zip(labels.tolist(), values.tolist(), strict=True)
            ],
            "method": self.classifier.explainer.method,
            "picture": f"data:image/png;base64,{base64.b64encode(png.getvalue()).decode()}",
        }


class Handler(BaseHTTPRequestHandler):
    server: DemoServer
    timeout = TIMEOUT
    server_version, sys_version = "demo", ""

    def do_GET(self) -> None:
        if self._is_allowed():
            if self.path == PAGE:
                self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")
            else:
                self._answer_json(HTTPStatus.NOT_FOUND, {"error": "there is one page, /"})

    def do_POST(self) -> None:
        if not self._is_allowed():
            return
        length = self.headers.get("Content-Length", "")
        if self.path != CLASSIFY:
            self._answer_json(HTTPStatus.NOT_FOUND, {"error": "there is one page, /"})
        elif not (length.isascii() and length.isdigit()):
            self._answer_json(HTTPStatus.LENGTH_REQUIRED, {"error": "no length"})
        elif int(length) > MAX_BYTES:
            self._answer_json(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                {"error": f"{int(length) / 1e6:.1f} MB: at most {MAX_BYTES / 1e6:.0f}"},
            )
        else:
            answer = self.server.classify(self.rfile.read(int(length)))
            self._answer_json(HTTPStatus.BAD_REQUEST if "error" in answer else HTTPStatus.OK, answer)

    def _is_allowed(self) -> bool:
        """Whether the request names this server by its address, not by another site's name, and no other page sent it."""
        host, port = self.headers.get("Host", ""), self.server.server_port
        hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost", self.connection.getsockname()[0])}
        allowed = host in hosts and self.headers.get("Origin") in (None, f"http://{host}")
        if not allowed:
            self._answer_json(HTTPStatus.FORBIDDEN, {"error": "not from this page"})
        return allowed

    def _answer_json(self, status: HTTPStatus, content: dict[str, Any]) -> None:
        self._answer(status, json.dumps(content).encode(), "application/json")

    def _answer(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.close_connection = True  # the unread rest of a refused request must not be parsed as the next one
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Cache-Control", "no-store"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: images of a user are not logged."""


def render_page(run_folder: Path, classifier: Classifier) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    return environment.get_template("demo.html.jinja").render(
        run=run_folder.resolve().name,
        backbone=classifier.model.backbone.name.partition("=")[0],
        classes=classifier.model.card["classes"],
        max_bytes=MAX_BYTES,
        calibrated=classifier.model.card.get("temperature") is not None,
    )


def make_server(run_folder: Path, host: str, port: int) -> DemoServer:
    """A server that listens; its `serve_forever` answers. Port 0: any free one.

    Raises:
        UserError: no finished run, or the address is not free.
    """
    classifier = load_classifier(run_folder, results.read_model_card(run_folder / results.BEST))
    try:
        return DemoServer((host, port), run_folder, classifier)
    except OSError as error:
        raise UserError(f"cannot listen on {host}:{port} ({error.strerror}): choose another --port") from None
