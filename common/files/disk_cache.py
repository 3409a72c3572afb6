"""A disk cache of expensive results, keyed by everything that determines them."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import disk_errors
from .atomic import atomic_write

CACHE_VARIABLE = "CLASH_CACHE"  # sets another folder


def cache_dir() -> Path:
    """$CLASH_CACHE, or `clash-of-backbones` in the system's cache folder."""
    system = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(CACHE_VARIABLE) or system / "clash-of-backbones")


def cached(kind: str, key: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The cached result of `compute` for `key`; both are JSON-serializable."""
    if load(kind, key) is None:
        store(kind, key, compute())
    return load(kind, key)


def load(kind: str, key: dict[str, Any]) -> dict[str, Any] | None:
    """The cached result for `key`, or None."""
    path = _path(kind, key)
    return json.loads(path.read_text("utf-8"))["figures"] if path.exists() else None


def store(kind: str, key: dict[str, Any], result: dict[str, Any]) -> None:
    path = _path(kind, key)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, CACHE_VARIABLE) as part:
        part.write_text(json.dumps({"about": key, "figures": result}), "utf-8")


def _path(kind: str, key: dict[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir() / kind / f"{digest}.json"
