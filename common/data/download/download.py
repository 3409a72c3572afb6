"""One published file, from the first mirror that has it: resumed, checked, whole or named `.part`.

The transport is the standard library's: certificates, redirects and proxies are all we need of one. pooch checks hashes
but neither resumes nor knows mirrors; torchvision does neither, imports torch and falls back from https to http;
huggingface_hub's `http_get` resumes, but is internal, believes any 206 and knows neither hashes nor mirrors.
"""

import hashlib
import os
import re
import time
from collections.abc import Iterator
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from ...errors import UserError
from ...spec import File

TIMEOUT = 30.0  # seconds without a byte
TRIES = 20  # per mirror, as long as each brings something new
PAUSE = 1.0  # seconds between two tries


class Broken(Exception):
    """A mirror failed; the next try or the next mirror may do better."""


def download(file: File, path: Path) -> None:
    """The file at `path`, checked: it is there already, or a mirror has it.

    Raises:
        UserError: what is there is not the published file, or no mirror has that.
    """
    if path.exists():
        if wrong := _wrong(file, path):
            raise UserError(f"{path} is not the published file ({wrong}): delete it and run again")
        return
    part, failures = part_of(path), []
    for url in file.mirrors:
        for _ in range(TRIES):
            before = size(part)
            try:
                _receive(url, file, part)
                if not (wrong := _wrong(file, part)):
                    os.replace(part, path)
                    return
                part.unlink()  # if another try had begun it, this mirror may be right: once more, from the beginning
            except Broken as error:
                wrong = str(error)
            if size(part) == before:
                break
            time.sleep(PAUSE)
        failures.append(f"{urlsplit(url).netloc}: {wrong}")
    kept = f" ({size(part):,} bytes are kept, the next run goes on from there)" if size(part) else ""
    raise UserError(
        f"cannot fetch {file.name}{kept}: {'; '.join(failures)}; try again later, or put {facts(file)} into {path.parent}"
    )


def part_of(path: Path) -> Path:
    """Where a file lies as long as it is not whole."""
    return path.with_name(f"{path.name}.part")


def size(path: Path) -> int:
    """In bytes; 0 where there is no file."""
    return path.stat().st_size if path.exists() else 0


def facts(file: File) -> str:
    """Its name and what it is checked against."""
    known = [f"{file.bytes:,} bytes"] if file.bytes else []
    known += [file.digest.replace(":", " ")] if file.digest else []
    return f"{file.name} ({', '.join(known) or 'no checksum is published'})"


def _receive(url: str, file: File, part: Path) -> None:
    """Append to `part` what it lacks."""
    from tqdm import tqdm

    if file.bytes and size(part) >= file.bytes:
        return
    try:
        with (
            open(part, "ab") as out,
            tqdm(desc=file.name, total=file.bytes, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for at, chunk in _stream(url, file, out.tell()):
                if at != out.tell():  # the server begins anew
                    out.seek(at)
                    out.truncate()
                out.write(chunk)
                bar.update(at + len(chunk) - bar.n)
    except OSError:  # the disk's, as the network's are `Broken`: give back what we took
        part.unlink(missing_ok=True)
        raise
    finally:
        if not size(part):
            part.unlink(missing_ok=True)


def _stream(url: str, file: File, have: int) -> Iterator[tuple[int, bytes]]:
    """(position, bytes) from position `have` on, or from 0 if the server cannot go on.

    Errors of the network alone become `Broken`: those of whoever writes the bytes do not pass through here.
    """
    headers = {"User-Agent": "clash-of-backbones", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as response:
            at, total = _extent(response, have)
            if file.bytes and total not in (None, file.bytes):
                raise Broken(f"{total:,} bytes, expected {file.bytes:,}")
            if response.headers.get_content_type() == "text/html":
                raise Broken("a web page instead of the file")
            total = total or file.bytes
            while at != total and (chunk := response.read1(1 << 20)):
                if total and at + len(chunk) > total:
                    raise Broken(f"more than {total:,} bytes")
                yield at, chunk
                at += len(chunk)
            if total and at < total:
                raise Broken(f"connection lost after {at:,} of {total:,} bytes")
    except HTTPError as error:
        error.close()
        if error.code != 416 or not have:
            raise Broken(f"{error.code} {error.reason}") from None
        yield from _stream(url, file, 0)  # what we have is longer than its file, so not the beginning of that
    except (OSError, HTTPException) as error:
        raise Broken(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _extent(response: HTTPResponse, have: int) -> tuple[int, int | None]:
    """Where the answer begins, and the bytes of the whole file where they are told."""
    if response.status == 206:
        told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not told or int(told[1]) != have:
            raise Broken("another part of the file than asked for")
        return have, None if told[2] == "*" else int(told[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _wrong(file: File, path: Path) -> str:
    """What tells it from the published file; empty where nothing does."""
    if file.bytes is not None and size(path) != file.bytes:
        return f"{size(path):,} bytes, expected {file.bytes:,}"
    if file.digest is None:
        return ""
    algorithm, _, expected = file.digest.partition(":")
    with open(path, "rb") as content:
        found = hashlib.file_digest(content, partial(hashlib.new, algorithm, usedforsecurity=False))
    digest = found.hexdigest()
    return "" if digest == expected else f"{algorithm} {digest[:12]}..., expected {expected[:12]}..."
