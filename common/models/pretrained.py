"""Fits the names and shapes of a state dict to a network: prefixes, EMA copies, other heads, other resolutions."""

import re
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import Backbone
from .state_dict import note

if TYPE_CHECKING:
    from torch import Tensor, nn

MIN_MATCH = 0.9  # of the parameters of the network without its head
# heads that are not built, by the prefix of the architecture's name
EXTRA_HEADS = {"inception_v3": ("AuxLogits.",), "googlenet": ("aux1.", "aux2."), "repvit": ("head.head_dist.",)}


def load_pretrained(net: "nn.Module", backbone: Backbone, state_dict: Mapping[str, "Tensor"], keep_head: bool) -> None:
    """Copy `state_dict` into `net`; without `keep_head` its head keeps its initialisation.

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
    if any(name in source and source[name].shape != tensor.shape for name, tensor in target.items()):
        source = _resize_positions(net, source)
    matched = _matches(target, source)
    if _size(matched) < MIN_MATCH * _size(target):
        source = _by_position(target, state_dict) or source
        matched = _matches(target, source)
    missing = [name for name in target if name not in matched]
    fraction = _size(matched) / max(1, _size(target))
    if fraction < (1 if keep_head else MIN_MATCH) or (keep_head and missing):
        raise UserError(_mismatch(backbone, target, source, fraction))
    if _is_ema(prefix):
        note(f"using the EMA weights of {prefix}* for {backbone.name}")
    if missing:
        note(f"{fraction:.1%} of {backbone.name}'s parameters match; initialised: {_first(missing)}")
    unused = [n for n in source if n not in matched and not n.startswith(f"{backbone.head}.")]
    if unused and not keep_head:
        note(f"not used for {backbone.name}: {_first(unused)}")
    net.load_state_dict(matched, strict=False)


def _best_prefix(target: Mapping[str, "Tensor"], state_dict: Mapping[str, "Tensor"]) -> str:
    """The prefix to remove from the file's names so that most parameters match; on ties, that of an EMA copy."""
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


def _resize_positions(net: "nn.Module", source: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Position embeddings resampled by timm, if the network's module has a function for it."""
    timm_filter = getattr(sys.modules[type(net).__module__], "checkpoint_filter_fn", None)
    if timm_filter is None:
        return source
    source = timm_filter(source, net)
    if grid := getattr(net, "tokens_spatial_shape", None):  # Hiera's function does not
        from timm.layers import resample_abs_pos_embed

        source["pos_embed"] = resample_abs_pos_embed(source["pos_embed"], list(grid), num_prefix_tokens=0)
    return source


def _by_position(target: Mapping[str, "Tensor"], state_dict: Mapping[str, "Tensor"]) -> dict[str, "Tensor"] | None:
    """The same network under other names (EfficientNet-Lite's port, fastai's body): same shapes in the same order."""
    pairs = list(zip(target.items(), state_dict.items(), strict=False))
    same = all(
        ours.rsplit(".", 1)[-1] == theirs.rsplit(".", 1)[-1] and a.shape == b.shape for (ours, a), (theirs, b) in pairs
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
    listed = "; ".join(f"{kind}: {_first(names)}" for kind, names in differences.items() if names)
    return f"weights of another architecture than {backbone.name}: {fraction:.1%} of its parameters match; {listed}"


def _first(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _published_names(backbone: Backbone, state_dict: dict[str, "Tensor"]) -> dict[str, "Tensor"]:
    """Rename DenseNet's layers from torchvision's old names, and drop heads that are not built."""
    if backbone.arch.startswith("densenet"):
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")
        return {old.sub(r"\1\2", name): tensor for name, tensor in state_dict.items()}
    extra = tuple(p for arch, prefixes in EXTRA_HEADS.items() if backbone.arch.startswith(arch) for p in prefixes)
    return {name: tensor for name, tensor in state_dict.items() if not (extra and name.startswith(extra))}
