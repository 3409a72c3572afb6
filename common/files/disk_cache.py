"""A disk cache of expensive results, beside the decoded images, keyed by everything that determines them."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import disk_errors
from .atomic import atomic_write

CACHE_VARIABLE = "CLASH_CACHE"  # names another place


def cache_dir() -> Path:
    """$CLASH_CACHE, or `clash-of-backbones` where the system keeps its caches."""
    system = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get(CACHE_VARIABLE) or system / "clash-of-backbones")


def cached(kind: str, about: dict[str, Any], compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The cached result of `compute` for `about`; both must be JSON-serialisable."""
    if load(kind, about) is None:
        store(kind, about, compute())
    return load(kind, about)


def load(kind: str, about: dict[str, Any]) -> dict[str, Any] | None:
    """What was kept about this; None: nothing."""
    path = _path(kind, about)
    return json.loads(path.read_text("utf-8"))["figures"] if path.exists() else None


def store(kind: str, about: dict[str, Any], figures: dict[str, Any]) -> None:
    path = _path(kind, about)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, CACHE_VARIABLE) as part:
        part.write_text(json.dumps({"about": about, "figures": figures}), "utf-8")


def _path(kind: str, about: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    return cache_dir() / kind / f"{key}.json"
