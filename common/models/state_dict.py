"""Weights of a file as a state dict that fits a network: containers opened, prefixes removed, mismatches reported.

No code of a file runs: pickles are read by torch's restricted unpickler, with a few harmless types allowed.
"""

import argparse
import datetime
import pathlib
import re
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .registry import Backbone

if TYPE_CHECKING:
    from torch import Tensor, nn

MIN_MATCH = 0.9  # of the parameters of the network without its head
# where trainers put the network: timm, torchvision's references, Lightning, fastai, Hugging Face, DINO, MMPretrain
EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "model_averaged", "teacher")
KEYS = (
    "state_dict", "model_state_dict", "model", "net", "network", "module", "params", "weights", "student", "backbone",
)  # fmt: skip
WRAPPERS = re.compile(
    r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)  # at any depth
EXTRA_HEADS = {"inception_v3": "AuxLogits.", "repvit_m1_5": "head.head_dist."}  # in the files alone


def load_state_dict(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file or of a checkpoint's network; of its moving average (EMA), if it has one.

    Raises:
        UserError: neither, or a checkpoint that needs code to be loaded.
    """
    from safetensors.torch import load_file

    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except Exception as error:  # broken files make the readers raise anything
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot read weights from {path}: {reason}{_blocked_types(path)}") from None
    state_dict, keys = _find_network(content)
    if state_dict is None:
        raise UserError(
            f"{path} holds no state dict (names to tensors), neither at its top nor under "
            f"{', '.join(KEYS[:3])} ...: save model.state_dict()"
        )
    if any(key in EMA_KEYS for key in keys):
        note(f"{path}: taking its EMA weights ({'.'.join(keys)})")
    return {WRAPPERS.sub("", name): tensor for name, tensor in state_dict.items()}


def load_pretrained(
    net: "nn.Module", backbone: Backbone, state_dict: Mapping[str, "Tensor"], keep_head: bool
) -> None:
    """Copy `state_dict` into `net`; without `keep_head` its head stays as it is initialised.

    With `keep_head` everything has to match; without, 90 % of the parameters below the head.

    Raises:
        UserError: a file of another architecture, with the first names on both sides.
    """
    state_dict = _published_names(backbone, dict(state_dict))
    target = net.state_dict()
    if not keep_head:
        target = {name: t for name, t in target.items() if not name.startswith(f"{backbone.head}.")}
    prefix = _best_prefix(target, state_dict)
    source = {name.removeprefix(prefix): t for name, t in state_dict.items() if name.startswith(prefix)}
    matched = _matches(target, source)
    if _size(matched) < MIN_MATCH * _size(target):
        source = _by_position(target, state_dict) or source
        matched = _matches(target, source)
    missing = [name for name in target if name not in matched]
    fraction = _size(matched) / max(1, _size(target))
    if fraction < (1 if keep_head else MIN_MATCH) or (keep_head and missing):
        raise UserError(_mismatch(backbone, target, source, fraction))
    if _is_ema(prefix):
        note(f"taking the EMA weights of {prefix}* for {backbone.name}")
    if missing:
        note(f"{fraction:.1%} of {backbone.name}'s parameters match; initialised anew: {_first(missing)}")
    unused = [n for n in source if n not in matched and not n.startswith(f"{backbone.head}.")]
    if unused and not keep_head:
        note(f"not used for {backbone.name}: {_first(unused)}")
    net.load_state_dict(matched, strict=False)


def note_head(backbone: Backbone, state_dict: Mapping[str, "Tensor"], path: Path) -> None:
    """Say that the head of a user's file is replaced, if it has one."""
    for name, tensor in state_dict.items():
        if f".{name}".endswith(f".{backbone.head}.weight"):
            note(f"{path}: its head ({len(tensor):,} classes) is left out, a new one is trained")


@cache
def note(text: str) -> None:
    """A line on stderr, once per process."""
    print(text, file=sys.stderr)


def _unpickle(path: Path) -> Any:
    import torch

    with torch.serialization.safe_globals(_allowed_types()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pickle protocols that the restricted unpickler may not know
        return torch.load(path, map_location="cpu", weights_only=True)


def _allowed_types() -> list[Callable | tuple[Callable, str]]:
    """Types without side effects that trainers store beside the weights: numbers of NumPy, options, dates, paths."""
    import numpy as np

    multiarray = np._core.multiarray
    numpy_types = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name in ("scalar", "_reconstruct")
    ]
    dtypes = [type(np.dtype(code)) for code in "?bhilqBHILQefdgFDGSUMm"]
    paths = [
        (pathlib.PurePath, f"pathlib{m}.{n}Path")
        for m in ("", "._local")
        for n in ("Posix", "Windows", "Pure")
    ]
    lightning = [
        (dict, f"{module}.AttributeDict")
        for module in ("pytorch_lightning.utilities.parsing", "lightning.fabric.utilities.data", "lightning_fabric.utilities.data")
    ]  # fmt: skip
    dates = [datetime.datetime, datetime.date, datetime.timedelta, datetime.timezone]
    return [
        np.dtype,
        np.ndarray,
        *dtypes,
        *numpy_types,
        *paths,
        *lightning,
        *dates,
        argparse.Namespace,
        defaultdict,
        list,
        dict,
    ]


def _blocked_types(path: Path) -> str:
    """What in a checkpoint is not loaded for safety, as the end of a message."""
    import torch

    try:
        with torch.serialization.safe_globals(_allowed_types()):
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a checkpoint
        return ""
    if not names:
        return ""
    return (
        f" It holds {', '.join(names[:3])}, which are not loaded for safety: save model.state_dict() instead"
    )


def _find_network(content: Any, depth: int = 4) -> tuple[dict[str, "Tensor"] | None, list[str]]:
    """The state dict within a checkpoint, and the keys on the way to it. An EMA copy goes first."""
    import torch

    if not isinstance(content, dict) or not depth:
        return None, []
    for key in (*EMA_KEYS, *KEYS):
        if isinstance(content.get(key), dict):
            state_dict, keys = _find_network(content[key], depth - 1)
            if state_dict is not None:
                return state_dict, [key, *keys]
    if not all(isinstance(name, str) for name in content):
        return None, []
    tensors = {name: value for name, value in content.items() if isinstance(value, torch.Tensor)}
    return (tensors, []) if 2 * len(tensors) > len(content) else (None, [])


def _best_prefix(target: Mapping[str, "Tensor"], state_dict: Mapping[str, "Tensor"]) -> str:
    """The prefix of the file's names without which most parameters match; of several, an EMA copy."""
    sizes: Counter[str] = Counter({"": 0})
    for name, tensor in state_dict.items():
        parts = name.split(".")
        for i in range(len(parts)):
            wanted = target.get(".".join(parts[i:]))
            if wanted is not None and wanted.shape == tensor.shape:
                sizes["".join(f"{part}." for part in parts[:i])] += max(1, tensor.numel())
    return max(sizes, key=lambda prefix: (sizes[prefix], _is_ema(prefix), -len(prefix)))


def _is_ema(prefix: str) -> bool:
    return not {"ema", "teacher"}.isdisjoint(re.split(r"[._]", prefix))


def _matches(target: Mapping[str, "Tensor"], source: Mapping[str, "Tensor"]) -> dict[str, "Tensor"]:
    return {n: source[n] for n, t in target.items() if n in source and source[n].shape == t.shape}


def _size(tensors: Mapping[str, "Tensor"]) -> int:
    return sum(max(1, tensor.numel()) for tensor in tensors.values())


def _by_position(
    target: Mapping[str, "Tensor"], state_dict: Mapping[str, "Tensor"]
) -> dict[str, "Tensor"] | None:
    """The same network under other names (EfficientNet-Lite's port, fastai's body): same shapes in the same order."""
    pairs = list(zip(target.items(), state_dict.items(), strict=False))
    same = all(
        ours.rsplit(".", 1)[-1] == theirs.rsplit(".", 1)[-1] and a.shape == b.shape
        for (ours, a), (theirs, b) in pairs
    )
    return {ours: tensor for (ours, _), (_, tensor) in pairs} if same and len(pairs) == len(target) else None


def _mismatch(
    backbone: Backbone, target: Mapping[str, "Tensor"], source: Mapping[str, "Tensor"], fraction: float
) -> str:
    missing = [name for name in target if name not in source]
    shapes = [
        f"{name} {tuple(source[name].shape)} instead of {tuple(t.shape)}"
        for name, t in target.items()
        if name in source and source[name].shape != t.shape
    ]
    unused = [name for name in source if name not in target and not name.startswith(f"{backbone.head}.")]
    differences = {"missing": missing, "of another shape": shapes, "unknown": unused}
    listed = "; ".join(f"{what}: {_first(names)}" for what, names in differences.items() if names)
    return f"weights of another architecture than {backbone.name}: {fraction:.0%} of its parameters match; {listed}"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _published_names(backbone: Backbone, state_dict: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """torchvision's old names of DenseNet's layers, and files with a head that is not built."""
    if backbone.arch.startswith("densenet"):
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
        return {old.sub(r"\1\2", name): tensor for name, tensor in state_dict.items()}
    if extra := EXTRA_HEADS.get(backbone.name.partition("=")[0]):
        return {name: tensor for name, tensor in state_dict.items() if not name.startswith(extra)}
    return state_dict
