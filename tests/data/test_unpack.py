"""Hostile archives are refused without a trace."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fetch_server import CONTENT, Server, published, refusal, sheet, tarred, zipped

import common.data.download.unpack as unpacking

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
    "zip climbs": ("zip", lambda: zipped({"ok.jpg": b"ok", "../../out.jpg": b"x"}), "a path outside"),
    "zip absolute": ("zip", lambda: zipped({"/tmp/clash-out.jpg": b"x"}), "a path outside"),
    "zip climbs on Windows": ("zip", lambda: zipped({"..\\out.jpg": b"x"}), "a path outside"),
    "zip drive": ("zip", lambda: zipped({"C:/out.jpg": b"x"}), "a path outside"),
    "zip link": ("zip", zip_link, "a link or a device"),
    "zip bomb": ("zip", lambda: zipped({"bomb": bytes(3_000_000)}), "like a zip bomb"),
    "zip of many": ("zip", lambda: zipped({str(i): b"" for i in range(101)}), "like a zip bomb"),
    "zip broken": ("zip", lambda: zipped(CONTENT)[:-100], "cannot be unpacked"),
    "zip of no kind": ("zip", lambda: b"<h1>log in</h1>", "cannot be unpacked"),
    "tar climbs": ("tar.gz", lambda: tarred({"ok.jpg": b"ok", "a/../../out.jpg": b"x"}), "a path outside"),
    "tar absolute": ("tar.gz", lambda: tarred({"/tmp/clash-out.jpg": b"x"}), "a path outside"),
    "tar symlink": ("tar.gz", lambda: tarred({}, tar_entry("l", tarfile.SYMTYPE, "/etc")), "a link or a device"),
    "tar inner symlink": (
        "tar.gz",
        lambda: tarred({"a.jpg": b"x"}, tar_entry("l", tarfile.SYMTYPE, "a.jpg")),
        "a link or a device",
    ),
    "tar hardlink": ("tar.gz", lambda: tarred({}, tar_entry("l", tarfile.LNKTYPE, "/etc/passwd")), "a link or a device"),
    "tar device": ("tar.gz", lambda: tarred({}, tar_entry("zero", tarfile.CHRTYPE)), "a link or a device"),
    "tar pipe": ("tar.gz", lambda: tarred({}, tar_entry("pipe", tarfile.FIFOTYPE)), "a link or a device"),
    "tar bomb": ("tar.gz", lambda: tarred({"bomb": bytes(3_000_000)}), "like a zip bomb"),
    "tar of many folders": (
        "tar.gz",
        lambda: tarred({}, *(tar_entry(str(i), tarfile.DIRTYPE) for i in range(101))),
        "like a zip bomb",
    ),
    "tar names a file twice": ("tar.gz", twice, "holds a.jpg twice"),
    "tar broken": ("tar.gz", lambda: tarred(CONTENT)[:-1_000], "cannot be unpacked"),
    "tar of no kind": ("tar.gz", lambda: b"<h1>log in</h1>", "cannot be unpacked"),
}  # fmt: skip


def test_a_large_archive_may_unpack_to_a_multiple_of_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not to a smaller size than its own: it is no bomb."""
    monkeypatch.setattr(unpacking, "SMALL", 10)
    (tmp_path / "a.zip").write_bytes(zipped({"a.bin": np.random.default_rng(0).bytes(5_000)}))
    unpacking.unpack(tmp_path / "a.zip", tmp_path / "out")
    assert (tmp_path / "out" / "a.bin").stat().st_size == 5_000


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(unpacking, "SMALL", 1_000_000)
    monkeypatch.setattr(unpacking, "MAX_FILES", 100)
    suffix, make, why = HOSTILE[what]
    place = tmp_path / "a" / "b" / "toy"
    assert why in refusal(sheet(published(server, f"toy.{suffix}", make())), place)
    assert not list(tmp_path.rglob("*out.jpg")) and not Path("/tmp/clash-out.jpg").exists()
