"""Downloads from a server that misbehaves on purpose: the data folder is complete or absent."""

import errno
import hashlib
import io
import socket
from dataclasses import replace
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request

import pytest
from fetch_server import CONTENT, Server, no_sockets, published, refusal, sheet, tarred, tree, unfinished, zipped

import common.data.download.download as transport
import common.data.download.unpack as unpacking
from common.data.download.fetch import fetch
from common.errors import UserError
from common.spec import Dataset, File

# a good day


@pytest.mark.parametrize("name", ["toy.zip", "toy.tar.gz", "toy.tgz"])
def test_an_archive_becomes_a_folder(server: Server, tmp_path: Path, name: str) -> None:
    dataset = sheet(published(server, name, (zipped if name == "toy.zip" else tarred)(CONTENT)))
    assert fetch(dataset, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT
    assert sorted(p.name for p in tmp_path.iterdir()) == [".toy.lock", "toy"], "no download stays"


def test_several_files_and_their_places(server: Server, tmp_path: Path) -> None:
    archive = published(server, "toy.zip", zipped(CONTENT), into="images")
    md5 = f"md5:{hashlib.md5(b'labels').hexdigest()}"
    assert fetch(sheet(archive, published(server, "labels.mat", b"labels", digest=md5)), tmp_path / "toy")
    assert tree(tmp_path / "toy") == {"labels.mat": b"labels"} | {f"images/{k}": v for k, v in CONTENT.items()}


def test_a_second_run_opens_no_connection(
    toy: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(toy, tmp_path / "toy")
    no_sockets(monkeypatch)
    assert not fetch(toy, tmp_path / "toy")
    assert len(server.requests) == 1


def test_files_of_the_user_are_not_touched(toy: Dataset, server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine.jpg").touch()
    assert not fetch(toy, tmp_path / "toy")
    assert [p.name for p in tmp_path.rglob("*")] == ["toy", "mine.jpg"] and not server.requests


def test_an_empty_folder_and_a_link_to_another_disk(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "big" / "toy").mkdir(parents=True)
    (tmp_path / "toy").symlink_to(tmp_path / "big" / "toy")
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT and (tmp_path / "toy").is_symlink()


# the network


def test_a_cut_connection_is_taken_up_again(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut = [1_000, 60_000]
    assert fetch(toy, tmp_path / "toy")
    assert [header for _, header in server.requests] == [None, "bytes=1000-", "bytes=61000-"]
    assert tree(tmp_path / "toy") == CONTENT


def test_the_next_run_goes_on(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut = [1_000, 0]
    message = refusal(toy, tmp_path / "toy")
    assert "1,000 bytes are saved" in message and "connection lost after 1,000 of" in message
    assert unfinished(tmp_path).read_bytes() == server.files["toy.zip"][:1_000]
    server.requests.clear()
    assert fetch(toy, tmp_path / "toy")
    assert server.requests == [("toy.zip", "bytes=1000-")]
    assert tree(tmp_path / "toy") == CONTENT


def test_a_server_without_ranges_restarts(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut, server.ranges = [1_000], False
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


@pytest.mark.parametrize("content_range", ["bytes 0-9/10", "bytes 999-9999/10000", "", "bytes */7"])
def test_another_range_than_requested(toy: Dataset, server: Server, tmp_path: Path, content_range: str) -> None:
    begun = unfinished(tmp_path, server.files["toy.zip"][:1_000])
    server.headers["Content-Range"] = content_range
    assert "the server sent another range than requested" in refusal(toy, tmp_path / "toy")
    assert begun.stat().st_size == 1_000


def test_a_server_that_refuses_every_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once more from the beginning, and not again and again."""
    requested = []

    def refuse(request: Request, timeout: float) -> None:
        requested.append(request.get_header("Range"))
        raise HTTPError(request.full_url, 416, "Range Not Satisfiable", Message(), io.BytesIO())

    monkeypatch.setattr(transport, "urlopen", refuse)
    with pytest.raises(transport.MirrorError, match="416 Range Not Satisfiable"):
        list(transport._stream("http://127.0.0.1/a.zip", File(name="a.zip"), 10))
    assert requested == ["bytes=10-", None]


@pytest.mark.parametrize("begun", [b"another file's bytes", b"x" * 10_000_000])
def test_a_wrong_beginning_is_found_out(toy: Dataset, tmp_path: Path, begun: bytes) -> None:
    unfinished(tmp_path, begun)
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


def test_a_whole_download_of_a_killed_run(toy: Dataset, server: Server, tmp_path: Path) -> None:
    unfinished(tmp_path, server.files["toy.zip"])
    (tmp_path / "toy-downloads" / "unpacked").mkdir()
    (tmp_path / "toy-downloads" / "unpacked" / "half").touch()
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT and not server.requests


@pytest.mark.parametrize("begun", [0, 1_000])
def test_bytes_that_are_others(server: Server, tmp_path: Path, begun: int) -> None:
    good = zipped(CONTENT)
    file = published(server, "toy.zip", good)
    server.files["toy.zip"] = good[:2_000] + bytes([good[2_000] ^ 1]) + good[2_001:]
    if begun:
        unfinished(tmp_path, good[:begun])
    found = hashlib.sha256(server.files["toy.zip"]).hexdigest()[:12]
    message = refusal(sheet(file), tmp_path / "toy")
    assert f"sha256 {found}..., expected {file.digest[7:19]}..." in message
    assert not unfinished(tmp_path).exists() and len(server.requests) == 1 + bool(begun)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_size(server: Server, tmp_path: Path, change: int) -> None:
    content = zipped(CONTENT)
    file = published(server, "toy.zip", content, bytes=len(content) + change)
    assert f"{len(content):,} bytes, expected {len(content) + change:,}" in refusal(sheet(file), tmp_path / "toy")
    assert not unfinished(tmp_path).exists(), "not a byte of it is written"


def test_a_server_that_does_not_stop(toy: Dataset, server: Server, tmp_path: Path) -> None:
    toy = replace(toy, sources=(replace(toy.sources[0], bytes=5_000),))
    server.headers["Content-Length"] = "unknown"
    assert "more than 5,000 bytes" in refusal(toy, tmp_path / "toy")


def test_a_web_page_instead_of_the_file(server: Server, tmp_path: Path) -> None:
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    file = published(server, "toy.zip", b"<h1>Please log in</h1>", bytes=None, digest=None)
    assert "a web page instead of the file" in refusal(sheet(file), tmp_path / "toy")


def test_a_file_without_size_and_checksum(server: Server, tmp_path: Path) -> None:
    server.cut = [1_000]
    file = published(server, "toy.zip", zipped(CONTENT), bytes=None, digest=None)
    assert fetch(sheet(file), tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


def dead_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/toy.zip"


def test_the_next_mirror_is_tried(server: Server, tmp_path: Path) -> None:
    server.files["fake.zip"] = b"something else"
    bad = (dead_address(), server.url("gone.zip"), server.url("fake.zip"))
    assert fetch(sheet(published(server, "toy.zip", zipped(CONTENT), *bad)), tmp_path / "toy")
    assert [name for name, _ in server.requests] == ["gone.zip", "fake.zip", "toy.zip"]


def test_one_mirror_begins_and_another_ends(server: Server, tmp_path: Path) -> None:
    content = zipped(CONTENT)
    server.files["first.zip"], server.cut = content, [70_000, 0]
    assert fetch(sheet(published(server, "toy.zip", content, server.url("first.zip"))), tmp_path / "toy")
    assert server.requests[-1] == ("toy.zip", "bytes=70000-")


def test_all_mirrors_down(server: Server, tmp_path: Path) -> None:
    file = File(name="toy.zip", mirrors=(dead_address(), server.url("gone.zip")), bytes=7, digest="md5:abc")
    message = refusal(sheet(file), tmp_path / "toy")
    assert "Connection refused" in message and "404 Not Found" in message
    assert f"put toy.zip (7 bytes, md5 abc) into {tmp_path / 'toy-downloads'}" in message


# the disk


class FullDisk(io.BytesIO):
    def write(self, _: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def full(path: Path, mode: str = "r", *rest: object) -> io.IOBase:
    if mode in ("ab", "xb"):
        path.touch()
        return FullDisk()
    return open(path, mode, *rest)


@pytest.mark.parametrize("where", [transport, unpacking])
def test_a_full_disk(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object) -> None:
    monkeypatch.setattr(where, "open", full, raising=False)
    message = refusal(toy, tmp_path / "toy")
    assert "no space left on the disk" in message and "--data_dir" in message
    assert not unfinished(tmp_path).exists(), "the space is given back"
    monkeypatch.undo()
    assert fetch(toy, tmp_path / "toy")


def test_a_disk_too_small(toy: Dataset, server: Server, tmp_path: Path) -> None:
    huge = sheet(replace(toy.sources[0], bytes=10**18))
    assert "Toy needs 2,000,000,000,000,000,000 bytes" in refusal(huge, tmp_path / "toy")
    assert not server.requests


def test_a_disk_that_may_not_be_written(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", deny)
    assert "cannot write to" in refusal(toy, tmp_path / "toy")


def test_an_interrupted_extraction_leaves_nothing(
    toy: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(unpacking, "copyfileobj", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(toy, tmp_path / "toy")
    assert [p.name for p in (tmp_path / "toy-downloads").iterdir()] == ["toy.zip"] and not (tmp_path / "toy").exists()
    monkeypatch.undo()
    assert fetch(toy, tmp_path / "toy")
    assert len(server.requests) == 1, "what was checked is not fetched again"


def test_a_folder_that_cannot_be_replaced(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("a file")
    with pytest.raises(UserError, match="move away what is there"):
        fetch(toy, tmp_path / "toy")
    assert [p.name for p in (tmp_path / "toy-downloads").iterdir()] == ["toy.zip"]


# without a network, and where a program is not let in


def test_offline_opens_no_socket(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sockets(monkeypatch)
    file = toy.sources[0]
    message = refusal(toy, tmp_path / "toy", offline=True)
    assert f"--offline forbids downloading it: fetch toy.zip from {file.mirrors[0]}; put toy.zip" in message
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_offline_uses_files_downloaded_by_hand(
    toy: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets(monkeypatch)
    begun = unfinished(tmp_path, server.files["toy.zip"])
    refusal(toy, tmp_path / "toy", offline=True)  # an unfinished file is never taken for the complete one
    begun.rename(begun.with_suffix(""))
    assert fetch(toy, tmp_path / "toy", offline=True)
    assert tree(tmp_path / "toy") == CONTENT


def test_datasets_behind_a_login(server: Server, tmp_path: Path) -> None:
    behind = replace(published(server, "toy.zip", zipped(CONTENT)), mirrors=(), steps="log in at example.org")
    dataset, store = sheet(behind, published(server, "labels.mat", b"labels")), tmp_path / "toy-downloads"
    message = refusal(dataset, tmp_path / "toy")
    assert "not downloadable automatically: log in at example.org; put toy.zip" in message
    assert behind.digest[7:] in message and str(store) in message and "or it holds jpg/, in" in message
    assert not server.requests, "nothing is fetched before it is known that all can be had"
    store.mkdir()
    (store / "toy.zip").write_bytes(b"another file")
    assert f"{store / 'toy.zip'} is not the published file (12 bytes" in refusal(dataset, tmp_path / "toy")
    (store / "toy.zip").write_bytes(server.files["toy.zip"])
    assert fetch(dataset, tmp_path / "toy")
    assert tree(tmp_path / "toy") == {"labels.mat": b"labels", **CONTENT}
    assert list(tree(store)) == ["toy.zip"], "what a person brought stays"


def test_nothing_to_fetch(tmp_path: Path) -> None:
    assert "Toy is not downloadable automatically: it holds jpg/" in refusal(sheet(), tmp_path / "toy")
