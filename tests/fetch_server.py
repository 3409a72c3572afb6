"""A local server that misbehaves on purpose, for the tests of downloads."""

import hashlib
import io
import os
import re
import socket
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import common.data.download.download as transport
from common.data.download.fetch import fetch
from common.errors import UserError
from common.spec import Dataset, File, Official

CONTENT = {"jpg/a.jpg": os.urandom(150_000), "jpg/deep/b.jpg": os.urandom(50_000), "labels.txt": b"0 1\n"}


@dataclass
class Server:
    """What it has, how it behaves, and the requests it got: a list of (path, Range)."""

    files: dict[str, bytes]
    address: str = ""
    cut: list[int] = field(default_factory=list)  # one by one: bytes of the next answers before the line goes dead
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)  # sent instead of the true ones
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    wait: threading.Event | None = None  # hold answers back until it is set

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server(files={})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            state.requests.append((name, wanted))
            if state.wait:
                state.wait.wait(20)
            if name not in state.files:
                self.send_error(404)
                return
            content = state.files[name]
            start = int(re.findall(r"\d+", wanted)[0]) if wanted and state.ranges else 0
            if start >= len(content) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            headers = {"Content-Length": str(len(content) - start), "Content-Type": "application/octet-stream"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            for header in (headers | state.headers).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(content[start:][: state.cut.pop(0) if state.cut else None])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(transport, "PAUSE", 0)
    monkeypatch.setattr(transport, "TIMEOUT", 10)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        state.address = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield state
        http.shutdown()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return buffer.getvalue()


def published(server: Server, name: str, content: bytes, *also: str, **overrides: object) -> File:
    """A file that the server has, with its true size and digest; `also`: mirrors to try before."""
    server.files[name] = content
    known = {"bytes": len(content), "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", **overrides}
    return File(name=name, mirrors=(*also, server.url(name)), **known)


def sheet(*files: File) -> Dataset:
    return Dataset(
        name="toy", title="Toy", domain="natural", load=None, split=Official(), classes=None, counts=None,
        image_size=(32, 32), get="it holds jpg/", sources=files,
    )  # fmt: skip


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(dataset: Dataset, folder: Path, **how: object) -> str:
    """Fetching must fail with one line, and leave nothing but what names itself unfinished."""
    with pytest.raises(UserError) as caught:
        fetch(dataset, folder, **how)
    assert not folder.exists(), "something half-written survived"
    store = folder.with_name(f"{folder.name}-downloads")
    sources = {file.name for file in dataset.sources}
    left = {p.name for p in store.iterdir()} if store.exists() else set()
    assert left <= sources | {f"{name}.part" for name in sources} and (left or not store.exists())
    message = str(caught.value)
    assert "\n" not in message
    return message


def unfinished(tmp_path: Path, content: bytes | None = None) -> Path:
    """The unfinished download, begun with `content`."""
    path = tmp_path / "toy-downloads" / "toy.zip.part"
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return path


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbidden)
