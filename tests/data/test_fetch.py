"""Fetching against a server that misbehaves on purpose: the data folder is whole or not there, whatever happens."""

import errno
import gzip
import hashlib
import io
import os
import re
import socket
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import common.data.download.download as transport
import common.data.download.unpack as unpacking
from common.cli.catalog import datasets
from common.data.download.fetch import fetch
from common.errors import UserError
from common.spec import Dataset, File, Official

ROOT = Path(__file__).resolve().parents[2]
CONTENT = {"jpg/a.jpg": os.urandom(150_000), "jpg/deep/b.jpg": os.urandom(50_000), "labels.txt": b"0 1\n"}


@dataclass
class Server:
    """What it has, how it behaves, and what it was asked: a list of (path, Range)."""

    files: dict[str, bytes]
    address: str = ""
    cut: list[int] = field(
        default_factory=list
    )  # one by one: bytes of the next answers before the line goes dead
    ranges: bool = True
    headers: dict[str, str] = field(default_factory=dict)  # said instead of the truth
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    wait: threading.Event | None = None  # hold answers back until it is set

    def url(self, name: str) -> str:
        return f"{self.address}/{name}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    world = Server(files={})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name, wanted = self.path.lstrip("/"), self.headers.get("Range")
            world.asked.append((name, wanted))
            if world.wait:
                world.wait.wait(20)
            if name not in world.files:
                self.send_error(404)
                return
            whole = world.files[name]
            start = int(re.findall(r"\d+", wanted)[0]) if wanted and world.ranges else 0
            if start >= len(whole) > 0:
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            headers = {"Content-Length": str(len(whole) - start), "Content-Type": "application/octet-stream"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(whole) - 1}/{len(whole)}"
            for header in (headers | world.headers).items():
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(whole[start:][: world.cut.pop(0) if world.cut else None])

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(transport, "PAUSE", 0)
    monkeypatch.setattr(transport, "TIMEOUT", 10)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        world.address = f"http://127.0.0.1:{http.server_port}"
        threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
        yield world
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


def published(server: Server, name: str, content: bytes, *also: str, **facts: object) -> File:
    """A file that the server has, with its true size and digest; `also`: mirrors to try before."""
    server.files[name] = content
    known = {"bytes": len(content), "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", **facts}
    return File(name=name, mirrors=(*also, server.url(name)), **known)


def sheet(*files: File) -> Dataset:
    return Dataset(
        name="toy", title="Toy", domain="natural", load=None, split=Official(), classes=None, counts=None,
        image_size=(32, 32), get="it holds jpg/", sources=files,
    )  # fmt: skip


@pytest.fixture
def toy(server: Server) -> Dataset:
    return sheet(published(server, "toy.zip", zipped(CONTENT)))


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


def part(tmp_path: Path, content: bytes | None = None) -> Path:
    """The unfinished download, begun with `content`."""
    path = tmp_path / "toy-downloads" / "toy.zip.part"
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return path


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
    assert tree(tmp_path / "toy") == {"labels.mat": b"labels"} | {
        f"images/{k}": v for k, v in CONTENT.items()
    }


def test_a_second_run_opens_no_connection(
    toy: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetch(toy, tmp_path / "toy")
    no_sockets(monkeypatch)
    assert not fetch(toy, tmp_path / "toy")
    assert len(server.asked) == 1


def test_what_a_person_has_put_there_is_not_touched(toy: Dataset, server: Server, tmp_path: Path) -> None:
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "mine.jpg").touch()
    assert not fetch(toy, tmp_path / "toy")
    assert [p.name for p in tmp_path.rglob("*")] == ["toy", "mine.jpg"] and not server.asked


def test_an_empty_folder_and_a_link_to_another_disk(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "big" / "toy").mkdir(parents=True)
    (tmp_path / "toy").symlink_to(tmp_path / "big" / "toy")
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT and (tmp_path / "toy").is_symlink()


# the network


def test_a_cut_connection_is_taken_up_again(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut = [1_000, 60_000]
    assert fetch(toy, tmp_path / "toy")
    assert [asked for _, asked in server.asked] == [None, "bytes=1000-", "bytes=61000-"]
    assert tree(tmp_path / "toy") == CONTENT


def test_the_next_run_goes_on(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut = [1_000, 0]
    message = refusal(toy, tmp_path / "toy")
    assert "1,000 bytes are kept" in message and "connection lost after 1,000 of" in message
    assert part(tmp_path).read_bytes() == server.files["toy.zip"][:1_000]
    server.asked.clear()
    assert fetch(toy, tmp_path / "toy")
    assert server.asked == [("toy.zip", "bytes=1000-")]
    assert tree(tmp_path / "toy") == CONTENT


def test_a_server_without_ranges_begins_anew(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.cut, server.ranges = [1_000], False
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


@pytest.mark.parametrize("told", ["bytes 0-9/10", "bytes 999-9999/10000", "", "bytes */7"])
def test_another_part_than_asked_for(toy: Dataset, server: Server, tmp_path: Path, told: str) -> None:
    begun = part(tmp_path, server.files["toy.zip"][:1_000])
    server.headers["Content-Range"] = told
    assert "another part of the file than asked for" in refusal(toy, tmp_path / "toy")
    assert begun.stat().st_size == 1_000


@pytest.mark.parametrize("begun", [b"another file's bytes", b"x" * 10_000_000])
def test_a_wrong_beginning_is_found_out(toy: Dataset, tmp_path: Path, begun: bytes) -> None:
    part(tmp_path, begun)
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


def test_a_whole_download_of_a_killed_run(toy: Dataset, server: Server, tmp_path: Path) -> None:
    part(tmp_path, server.files["toy.zip"])
    (tmp_path / "toy-downloads" / "unpacked").mkdir()
    (tmp_path / "toy-downloads" / "unpacked" / "half").touch()
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT and not server.asked


@pytest.mark.parametrize("begun", [0, 1_000])
def test_bytes_that_are_others(server: Server, tmp_path: Path, begun: int) -> None:
    good = zipped(CONTENT)
    file = published(server, "toy.zip", good)
    server.files["toy.zip"] = good[:2_000] + bytes([good[2_000] ^ 1]) + good[2_001:]
    if begun:
        part(tmp_path, good[:begun])
    found = hashlib.sha256(server.files["toy.zip"]).hexdigest()[:12]
    message = refusal(sheet(file), tmp_path / "toy")
    assert f"sha256 {found}..., expected {file.digest[7:19]}..." in message
    assert not part(tmp_path).exists() and len(server.asked) == 1 + bool(begun)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_wrong_size(server: Server, tmp_path: Path, change: int) -> None:
    content = zipped(CONTENT)
    file = published(server, "toy.zip", content, bytes=len(content) + change)
    assert f"{len(content):,} bytes, expected {len(content) + change:,}" in refusal(
        sheet(file), tmp_path / "toy"
    )
    assert not part(tmp_path).exists(), "not a byte of it is written"


def test_a_server_that_does_not_stop(toy: Dataset, server: Server, tmp_path: Path) -> None:
    toy = replace(toy, sources=(replace(toy.sources[0], bytes=5_000),))
    server.headers["Content-Length"] = "unknown"
    assert "more than 5,000 bytes" in refusal(toy, tmp_path / "toy")


def test_a_web_page_instead_of_the_file(server: Server, tmp_path: Path) -> None:
    server.headers["Content-Type"] = "text/html; charset=utf-8"
    file = published(server, "toy.zip", b"<h1>Please log in</h1>", bytes=None, digest=None)
    assert "a web page instead of the file" in refusal(sheet(file), tmp_path / "toy")


def test_a_file_of_which_nothing_is_known(server: Server, tmp_path: Path) -> None:
    server.cut = [1_000]
    file = published(server, "toy.zip", zipped(CONTENT), bytes=None, digest=None)
    assert fetch(sheet(file), tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


def dead_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/toy.zip"


def test_a_mirror_down_and_the_next_one_works(server: Server, tmp_path: Path) -> None:
    server.files["fake.zip"] = b"something else"
    bad = (dead_address(), server.url("gone.zip"), server.url("fake.zip"))
    assert fetch(sheet(published(server, "toy.zip", zipped(CONTENT), *bad)), tmp_path / "toy")
    assert [name for name, _ in server.asked] == ["gone.zip", "fake.zip", "toy.zip"]


def test_one_mirror_begins_and_another_ends(server: Server, tmp_path: Path) -> None:
    content = zipped(CONTENT)
    server.files["first.zip"], server.cut = content, [70_000, 0]
    assert fetch(sheet(published(server, "toy.zip", content, server.url("first.zip"))), tmp_path / "toy")
    assert server.asked[-1] == ("toy.zip", "bytes=70000-")


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
    assert not part(tmp_path).exists(), "the space is given back"
    monkeypatch.undo()
    assert fetch(toy, tmp_path / "toy")


def test_a_disk_too_small(toy: Dataset, server: Server, tmp_path: Path) -> None:
    huge = sheet(replace(toy.sources[0], bytes=10**18))
    assert "Toy needs 2,000,000,000,000,000,000 bytes" in refusal(huge, tmp_path / "toy")
    assert not server.asked


def test_a_disk_that_may_not_be_written(
    toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    assert [p.name for p in (tmp_path / "toy-downloads").iterdir()] == ["toy.zip"] and not (
        tmp_path / "toy"
    ).exists()
    monkeypatch.undo()
    assert fetch(toy, tmp_path / "toy")
    assert len(server.asked) == 1, "what was checked is not fetched again"


def test_a_folder_that_cannot_be_replaced(toy: Dataset, tmp_path: Path) -> None:
    (tmp_path / "toy").write_text("a file")
    with pytest.raises(UserError, match="move away what is there"):
        fetch(toy, tmp_path / "toy")
    assert [p.name for p in (tmp_path / "toy-downloads").iterdir()] == ["toy.zip"]


# other processes

FETCH = """
import sys
from pathlib import Path
from common.data.download.fetch import fetch
from common.spec import Dataset, File, Official
url, size, digest, folder = sys.argv[1:]
file = File(name="toy.zip", mirrors=(url,), bytes=int(size), digest=digest)
print(fetch(Dataset(name="toy", title="Toy", domain="", load=None, split=Official(), classes=None, counts=None,
                    image_size=(32, 32), get="", sources=(file,)), Path(folder)))
"""


def started(file: File, folder: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", FETCH, file.mirrors[0], str(file.bytes), file.digest, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until_asked(server: Server) -> None:
    end = time.monotonic() + 30
    while not server.asked and time.monotonic() < end:
        time.sleep(0.02)


def test_two_processes_at_once(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.wait = threading.Event()
    with started(toy.sources[0], tmp_path / "toy") as one:
        wait_until_asked(server)
        with started(toy.sources[0], tmp_path / "toy") as two:
            assert "another process is fetching" in two.stderr.readline()
            server.wait.set()
            assert one.communicate(timeout=60)[0] == "True\n"
            assert two.communicate(timeout=60)[0] == "False\n"
    assert len(server.asked) == 1 and tree(tmp_path / "toy") == CONTENT


def test_a_killed_process_holds_up_nobody(toy: Dataset, server: Server, tmp_path: Path) -> None:
    server.wait = threading.Event()
    with started(toy.sources[0], tmp_path / "toy") as victim:
        wait_until_asked(server)
        victim.kill()
    server.wait.set()
    assert fetch(toy, tmp_path / "toy")
    assert tree(tmp_path / "toy") == CONTENT


# hostile archives


def tar_entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link() -> bytes:
    info = zipfile.ZipInfo("way_out")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc")
    return buffer.getvalue()


def twice() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for _ in range(2):
            archive.addfile(tarfile.TarInfo("a.jpg"))
    return gzip.compress(buffer.getvalue())


HOSTILE: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "zip climbs": ("zip", lambda: zipped({"ok.jpg": b"ok", "../../out.jpg": b"x"}), "climbs out"),
    "zip absolute": ("zip", lambda: zipped({"/tmp/clash-out.jpg": b"x"}), "climbs out"),
    "zip climbs on Windows": ("zip", lambda: zipped({"..\\out.jpg": b"x"}), "climbs out"),
    "zip drive": ("zip", lambda: zipped({"C:/out.jpg": b"x"}), "climbs out"),
    "zip link": ("zip", zip_link, "a link or a device"),
    "zip bomb": ("zip", lambda: zipped({"bomb": bytes(3_000_000)}), "as a bomb does"),
    "zip of many": ("zip", lambda: zipped({str(i): b"" for i in range(101)}), "as a bomb does"),
    "zip broken": ("zip", lambda: zipped(CONTENT)[:-100], "cannot be unpacked"),
    "zip of no kind": ("zip", lambda: b"<h1>log in</h1>", "cannot be unpacked"),
    "tar climbs": ("tar.gz", lambda: tarred({"ok.jpg": b"ok", "a/../../out.jpg": b"x"}), "climbs out"),
    "tar absolute": ("tar.gz", lambda: tarred({"/tmp/clash-out.jpg": b"x"}), "climbs out"),
    "tar symlink": ("tar.gz", lambda: tarred({}, tar_entry("l", tarfile.SYMTYPE, "/etc")), "a link or a device"),
    "tar inner symlink": (
        "tar.gz",
        lambda: tarred({"a.jpg": b"x"}, tar_entry("l", tarfile.SYMTYPE, "a.jpg")),
        "a link or a device",
    ),
    "tar hardlink": ("tar.gz", lambda: tarred({}, tar_entry("l", tarfile.LNKTYPE, "/etc/passwd")), "a link or a device"),
    "tar device": ("tar.gz", lambda: tarred({}, tar_entry("zero", tarfile.CHRTYPE)), "a link or a device"),
    "tar pipe": ("tar.gz", lambda: tarred({}, tar_entry("pipe", tarfile.FIFOTYPE)), "a link or a device"),
    "tar bomb": ("tar.gz", lambda: tarred({"bomb": bytes(3_000_000)}), "as a bomb does"),
    "tar of many folders": (
        "tar.gz",
        lambda: tarred({}, *(tar_entry(str(i), tarfile.DIRTYPE) for i in range(101))),
        "as a bomb does",
    ),
    "tar names a file twice": ("tar.gz", twice, "holds a.jpg twice"),
    "tar broken": ("tar.gz", lambda: tarred(CONTENT)[:-1_000], "cannot be unpacked"),
    "tar of no kind": ("tar.gz", lambda: b"<h1>log in</h1>", "cannot be unpacked"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(unpacking, "SMALL", 1_000_000)
    monkeypatch.setattr(unpacking, "MAX_FILES", 100)
    suffix, make, why = HOSTILE[what]
    place = tmp_path / "a" / "b" / "toy"
    assert why in refusal(sheet(published(server, f"toy.{suffix}", make())), place)
    assert not list(tmp_path.rglob("*out.jpg")) and not Path("/tmp/clash-out.jpg").exists()


# without a network, and where a program is not let in


def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbidden)


def test_offline_opens_no_socket(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_sockets(monkeypatch)
    file = toy.sources[0]
    message = refusal(toy, tmp_path / "toy", offline=True)
    assert f"--offline forbids fetching it: fetch toy.zip from {file.mirrors[0]}; put toy.zip" in message
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_offline_takes_what_was_brought(
    toy: Dataset, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets(monkeypatch)
    begun = part(tmp_path, server.files["toy.zip"])
    refusal(toy, tmp_path / "toy", offline=True)  # a part is never taken for the whole
    begun.rename(begun.with_suffix(""))
    assert fetch(toy, tmp_path / "toy", offline=True)
    assert tree(tmp_path / "toy") == CONTENT


def test_where_a_login_stands_in_the_way(server: Server, tmp_path: Path) -> None:
    behind = replace(published(server, "toy.zip", zipped(CONTENT)), mirrors=(), steps="log in at example.org")
    dataset, store = sheet(behind, published(server, "labels.mat", b"labels")), tmp_path / "toy-downloads"
    message = refusal(dataset, tmp_path / "toy")
    assert "not downloadable automatically: log in at example.org; put toy.zip" in message
    assert behind.digest[7:] in message and str(store) in message and "or it holds jpg/, in" in message
    assert not server.asked, "nothing is fetched before it is known that all can be had"
    store.mkdir()
    (store / "toy.zip").write_bytes(b"another file")
    assert f"{store / 'toy.zip'} is not the published file (12 bytes" in refusal(dataset, tmp_path / "toy")
    (store / "toy.zip").write_bytes(server.files["toy.zip"])
    assert fetch(dataset, tmp_path / "toy")
    assert tree(tmp_path / "toy") == {"labels.mat": b"labels", **CONTENT}
    assert list(tree(store)) == ["toy.zip"], "what a person brought stays"


def test_nothing_to_fetch(tmp_path: Path) -> None:
    assert "Toy is not downloadable automatically: it holds jpg/" in refusal(sheet(), tmp_path / "toy")


# the command and the option


def run(cwd: Path, *command: str) -> subprocess.CompletedProcess:
    """Run with torch and the network forbidden."""
    block = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = sys.argv[1:]; "
        "sys.addaudithook(lambda event, _: sys.exit('a socket was opened') if event == 'socket.__new__' else None); "
        "runpy.run_module('common', run_name='__main__') if sys.argv[0] == '-m' "
        "else runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", block, *command], cwd=cwd, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("-m", "fetch", "eurosad"), "no dataset 'eurosad': did you mean 'eurosat'?"),
        (("-m", "fetch", "eurosat", "cifar10", "--data_dir", "x"), "is the folder of one dataset, not of 2"),
        (("-m", "fetch", "flowers102", "--offline"), "fetch setid.mat from https://www.robots.ox.ac.uk"),
        (("-m", "fetch", "folder"), "Your folder is not downloadable automatically: point --data_dir at"),
        ((str(ROOT / "eurosat.py"), "--download", "--offline"), "94,280,567 bytes, sha256 8ebea626349354c5"),
        ((str(ROOT / "eurosat.py"),), "--download fetches it"),
    ],
)
def test_what_the_user_can_fix(tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    done = run(tmp_path, *command)
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and says in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_command_and_data_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "data" / "eurosat" / "2750").mkdir(parents=True)
    done = run(tmp_path, "-m", "fetch", "eurosat", "digits")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "EuroSAT: data/eurosat is there already, not checked (python -m common check eurosat counts its images)\nDigits: comes with scikit-learn\n"
    )


def test_download_comes_before_the_run(toy: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from common.cli import main

    def load(folder: Path, _: object) -> None:
        raise UserError(f"loaded {sorted(p.name for p in folder.iterdir())}")

    monkeypatch.chdir(tmp_path)
    toy = replace(toy, load=load)
    with pytest.raises(SystemExit):
        main.main(toy, ["--weights", "none"])
    assert not (tmp_path / "data").exists(), "never by surprise"
    options = main.parse((toy,), ["--weights", "none", "--download"])
    asked = main.check(main.choose((toy,), options), options)
    with pytest.raises(UserError, match=r"loaded \['jpg', 'labels.txt'\]"):
        main._run(asked, download=True)


@pytest.mark.parametrize("name", [sheet.name for sheet in datasets() if sheet.sources])
def test_the_sheets_sources(name: str) -> None:
    files = next(sheet.sources for sheet in datasets() if sheet.name == name)
    assert len({file.name for file in files}) == len(files)
    for file in files:
        assert file.mirrors or file.steps, "nobody knows how to get it"
        assert file.digest is None or re.fullmatch("sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", file.digest)
        assert all(re.match("https?://", mirror) for mirror in file.mirrors)
        assert not Path(file.into).is_absolute() and ".." not in Path(file.into).parts
