"""Reads a network's state dict from a weights file or from any trainer's checkpoint.

No code of a file runs: pickles are read by torch's restricted unpickler, with a few harmless types allowed.
"""

import argparse
import datetime
import pathlib
import re
import sys
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .registry import Backbone

if TYPE_CHECKING:
    from torch import Tensor

# where trainers put the network: timm, torchvision's references, Lightning, fastai, Hugging Face, DINO, MMPretrain
EMA_KEYS = ("state_dict_ema", "model_ema", "ema_state_dict", "ema_model", "ema", "model_averaged", "teacher")
KEYS = (
    "state_dict", "model_state_dict", "checkpoint", "model", "net", "network", "module", "params", "weights", "student", "backbone",
)  # fmt: skip
WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # at any depth


def load_state_dict(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a safetensors file or of a checkpoint's network; of its moving average (EMA), if it has one.

    Raises:
        UserError: neither, or a checkpoint that needs code to be loaded.
    """
    from safetensors.torch import load_file

    try:
        content = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except Exception as error:  # broken files make the readers raise anything
        raise UserError(f"cannot read weights from {path}: {_blocked_types(path) or _reason(error)}") from None
    state_dict, keys = _find_network(content)
    if state_dict is None:
        raise UserError(
            f"{path} holds no state dict (names to tensors), neither at its top level nor under "
            f"{', '.join(KEYS[:3])} ...: save model.state_dict()"
        )
    if any(key in EMA_KEYS for key in keys):
        note(f"{path}: using its EMA weights ({'.'.join(keys)})")
    return {WRAPPERS.sub("", name): tensor for name, tensor in state_dict.items()}


def note_head(backbone: Backbone, state_dict: Mapping[str, "Tensor"], path: Path) -> None:
    """Print a note if a user's file has a head, which is replaced."""
    for name, tensor in state_dict.items():
        if f".{name}".endswith(f".{backbone.head}.weight"):
            note(f"{path}: its head ({len(tensor):,} classes) is not used, a new one is trained")


@cache
def note(text: str) -> None:
    """Print a line on stderr, once per process."""
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
    paths = [(pathlib.PurePath, f"pathlib{m}.{n}Path") for m in ("", "._local") for n in ("Posix", "Windows", "Pure")]
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


def _reason(error: Exception) -> str:
    """The first sentence of an error; of PyTorch's, those that advise to run the code of a file are dropped."""
    text = str(error).split("\n")[0].split(". ")[0]
    advice = "weights_only" in text or text.startswith("Weights only load failed")
    return "not a checkpoint of tensors" if advice or isinstance(error, KeyError) else text or type(error).__name__


def _blocked_types(path: Path) -> str:
    """The types in a checkpoint that are not loaded for safety; empty if there are none."""
    import torch

    try:
        with torch.serialization.safe_globals(_allowed_types()):
            names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # not a checkpoint
        return ""
    if not names:
        return ""
    return f"it holds {', '.join(names[:3])}, which are not loaded for safety: save model.state_dict() instead"


def _find_network(content: Any, depth: int = 4) -> tuple[dict[str, "Tensor"] | None, list[str]]:
    """The state dict within a checkpoint, an EMA copy first, and the keys that lead to it."""
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
