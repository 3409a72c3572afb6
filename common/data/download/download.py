"""Download one published file from the first mirror that has it, with resume and checksum, as `.part` until complete.

The transport is the standard library's. pooch checks hashes but has neither resume nor mirrors; torchvision has neither,
imports torch and falls back from https to http; huggingface_hub's `http_get` resumes, but is internal, accepts any 206 and
has neither hashes nor mirrors.
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
MAX_TRIES = 20  # per mirror, while each adds bytes
PAUSE = 1.0  # seconds between two tries


class MirrorError(Exception):
    """A mirror failed; the next attempt or mirror may succeed."""


def download(file: File, path: Path) -> None:
    """Put the file at `path`, unless it is there already, and verify it.

    Raises:
        UserError: the file at `path` is not the published one, or no mirror serves it.
    """
    if path.exists():
        if mismatch := _mismatch(file, path):
            raise UserError(f"{path} is not the published file ({mismatch}): delete it and run again")
        return
    unfinished, failures = partial_path(path), []
    for url in file.mirrors:
        for _ in range(MAX_TRIES):
            before = file_size(unfinished)
            try:
                _receive(url, file, unfinished)
                if not (mismatch := _mismatch(file, unfinished)):
                    os.replace(unfinished, path)
                    return
                unfinished.unlink()  # part of it may come from another mirror: start again from zero
            except MirrorError as error:
                mismatch = str(error)
            if file_size(unfinished) == before:
                break
            time.sleep(PAUSE)
        failures.append(f"{urlsplit(url).netloc}: {mismatch}")
    progress = (
        f" ({file_size(unfinished):,} bytes are saved, the next run resumes there)" if file_size(unfinished) else ""
    )
    raise UserError(
        f"cannot fetch {file.name}{progress}: {'; '.join(failures)}; try again later, or put {describe(file)} into {path.parent}"
    )


def partial_path(path: Path) -> Path:
    """The unfinished download of `path`."""
    return path.with_name(f"{path.name}.part")


def file_size(path: Path) -> int:
    """In bytes; 0 if there is no file."""
    return path.stat().st_size if path.exists() else 0


def describe(file: File) -> str:
    """The file's name, size and checksum."""
    checks = [f"{file.bytes:,} bytes"] if file.bytes else []
    checks += [file.digest.replace(":", " ")] if file.digest else []
    return f"{file.name} ({', '.join(checks) or 'no published checksum'})"


def _receive(url: str, file: File, unfinished: Path) -> None:
    """Append the missing bytes to `unfinished`."""
    from tqdm import tqdm

    if file.bytes and file_size(unfinished) >= file.bytes:
        return
    try:
        with (
            open(unfinished, "ab") as out,
            tqdm(desc=file.name, total=file.bytes, unit="B", unit_scale=True, disable=None) as bar,
        ):
            for position, chunk in _stream(url, file, out.tell()):
                if position != out.tell():  # the server starts from zero
                    out.seek(position)
                    out.truncate()
                out.write(chunk)
                bar.update(position + len(chunk) - bar.n)
    except OSError:  # of the disk (those of the network are `MirrorError`): free the space
        unfinished.unlink(missing_ok=True)
        raise
    finally:
        if not file_size(unfinished):
            unfinished.unlink(missing_ok=True)


def _stream(url: str, file: File, offset: int) -> Iterator[tuple[int, bytes]]:
    """Yield (position, bytes) from `offset` on, or from 0 if the server cannot resume.

    Only errors of the network become `MirrorError`; errors of writing arise in the caller.
    """
    headers = {"User-Agent": "clash-of-backbones", **({"Range": f"bytes={offset}-"} if offset else {})}
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as response:
            position, total = _content_range(response, offset)
            if file.bytes and total not in (None, file.bytes):
                raise MirrorError(f"{total:,} bytes, expected {file.bytes:,}")
            if response.headers.get_content_type() == "text/html":
                raise MirrorError("a web page instead of the file")
            total = total or file.bytes
            while position != total and (chunk := response.read1(1 << 20)):
                if total and position + len(chunk) > total:
                    raise MirrorError(f"more than {total:,} bytes")
                yield position, chunk
                position += len(chunk)
            if total and position < total:
                raise MirrorError(f"connection lost after {position:,} of {total:,} bytes")
    except HTTPError as error:
        error.close()
        if error.code != 416 or not offset:
            raise MirrorError(f"{error.code} {error.reason}") from None
        yield from _stream(url, file, 0)  # the partial file is longer than the published one
    except (OSError, HTTPException) as error:
        raise MirrorError(str(getattr(error, "reason", error)) or type(error).__name__) from None


def _content_range(response: HTTPResponse, offset: int) -> tuple[int, int | None]:
    """The position of the first byte of the response, and the size of the complete file if the server gives it."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != offset:
            raise MirrorError("the server sent another range than requested")
        return offset, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _mismatch(file: File, path: Path) -> str:
    """How the file at `path` differs from the published one; empty if it does not."""
    if file.bytes is not None and file_size(path) != file.bytes:
        return f"{file_size(path):,} bytes, expected {file.bytes:,}"
    if file.digest is None:
        return ""
    algorithm, _, expected = file.digest.partition(":")
    with open(path, "rb") as content:
        digest = hashlib.file_digest(content, partial(hashlib.new, algorithm, usedforsecurity=False)).hexdigest()
    return "" if digest == expected else f"{algorithm} {digest[:12]}..., expected {expected[:12]}..."
