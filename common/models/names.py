"""Resolves backbone names as users type them to names of the table, of timm or of torchvision.

Names of the libraries are found in their source text: importing them takes seconds.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..errors import UserError
from .registry import BACKBONES, CIFAR, MODERN, REFERENCES, Backbone

# names of papers, of Hugging Face and of everyday use that are not in timm or torchvision; case and separators do not matter
ALIASES = {
    "resnext50": "resnext50_32x4d", "wide_resnet50": "torchvision:wide_resnet50_2", "wrn_50_2": "torchvision:wide_resnet50_2",
    "regnety_3_2gf": "regnet_y_3_2gf",
    "convnext_t": "convnext_tiny", "convnextv2": "convnextv2_tiny", "convnextv2_t": "convnextv2_tiny",
    "convnext_v2_tiny": "convnextv2_tiny", "swin_tiny": "swin_t", "swin_transformer": "swin_t",
    "swinv2_t": "swin_v2_t", "swinv2_tiny": "swin_v2_t", "swin_v2_tiny": "swin_v2_t",
    "efficientnetv2": "efficientnet_v2_s", "effnetv2_s": "efficientnet_v2_s",
    "efficientnet_lite": "efficientnet_lite0", "mobilenetv2": "torchvision:mobilenet_v2",
    "mobilenetv3": "mobilenet_v3_large", "mobilenetv3_large": "mobilenet_v3_large",
    "mobilenetv3_small": "torchvision:mobilenet_v3_small", "mobilenetv1": "timm:mobilenetv1_100",
    "squeezenet": "torchvision:squeezenet1_1", "vgg": "torchvision:vgg16", "shufflenetv2": "shufflenet_v2_x2_0",
    "inceptionv3": "inception_v3", "vit": "torchvision:vit_b_16", "vit_base": "torchvision:vit_b_16",
    "vit_ti_16": "timm:vit_tiny_patch16_224", "vit_tiny": "timm:vit_tiny_patch16_224", "vit_s_16": "timm:vit_small_patch16_224",
    "vit_small": "timm:vit_small_patch16_224", "deit_s": "timm:deit_small_patch16_224", "deit_ti": "timm:deit_tiny_patch16_224",
    "deit_b": "timm:deit_base_patch16_224", "deit3": "deit3_small", "deit_iii": "deit3_small", "dinov2": "vit_small_dinov2",
    "dinov2_vits14": "vit_small_dinov2", "dinov3": "vit_small_dinov3", "dinov3_vits16": "vit_small_dinov3",
    "tinyvit": "tiny_vit_21m", "caformer": "caformer_s18", "davit": "davit_tiny", "hiera": "hiera_tiny",
}  # fmt: skip
LIST_HINT = "python -m common list, timm.list_models() and torchvision.models.list_models() show all"


@cache
def rows() -> dict[str, Backbone]:
    """The table by name and by the paper's short names."""
    return {a: row for row in (*BACKBONES, *MODERN, *REFERENCES, *CIFAR) for a in (row.name, *row.aliases)}


@cache
def resolve(name: str) -> str:
    """The name in the table, `timm:NAME` or `torchvision:NAME`.

    Raises:
        UserError: unknown; suggests the nearest name.
    """
    if name in rows():
        return name
    library, _, arch = name.rpartition(":")
    plain, dot, tag = arch.partition(".")
    if library == "timm" and plain in timm_names():
        return name
    if library == "torchvision" and arch in torchvision_names():
        return name
    if not library and (match := _spellings(timm=True).get(_squeeze(plain))):
        return match + (dot + tag if match.startswith("timm:") else "")
    nearest = _nearest(name, library)
    raise UserError(f"unknown model {name!r}: {f'did you mean {nearest!r}? ' if nearest else ''}{LIST_HINT}")


def slug(name: str) -> str:
    """The name as a part of a file name, also of `NAME=FILE`."""
    return re.sub(r"[^\w.=-]", "_", name)[-120:]


def short_names(names: Iterable[str]) -> dict[str, str]:
    """`{NAME=folder/FILE: NAME=FILE}`, with as many folders as distinguish the files; other names are omitted."""
    paths = {name: Path(name.partition("=")[2]).parts for name in names if "=" in name}
    for depth in range(1, max(map(len, paths.values()), default=0) + 1):
        short = {name: f"{name.partition('=')[0]}={'/'.join(parts[-depth:])}" for name, parts in paths.items()}
        if len(set(short.values())) == len(short):
            return short
    return {}


def short_name(name: str) -> str:
    """A single name of `short_names`."""
    return short_names([name]).get(name, name)


def shorten(text: str, short: Mapping[str, str]) -> str:
    """A text with the names of `short_names` in place of the full ones."""
    for name in sorted(short, key=len, reverse=True):
        text = text.replace(name, short[name])
    return text


def _nearest(name: str, library: str) -> str | None:
    """The name nearest to an unknown one, in its library if it has a prefix, else in all, timm last."""
    if library:
        names = [f"{library}:{arch}" for arch in (timm_names() if library == "timm" else torchvision_names())]
        return next(iter(get_close_matches(name, names, 1, cutoff=0.4)), None)
    for timm, cutoff in ((False, 0.8), (True, 0.4)):
        spellings = _spellings(timm)
        if nearest := get_close_matches(_squeeze(name), spellings, 1, cutoff):
            return spellings[nearest[0]]
    return None


@cache
def _spellings(timm: bool) -> dict[str, str]:
    """Squeezed spelling -> name: of the table, else of an alias, else torchvision's, else with `timm` timm's."""
    names = [(name, f"timm:{name}") for name in sorted(timm_names() if timm else ())]
    names += [(name, f"torchvision:{name}") for name in torchvision_names()]
    names += [*ALIASES.items(), *((name, name) for name in rows())]
    return {_squeeze(spelling): name for spelling, name in names}


def _squeeze(name: str) -> str:
    return re.sub(r"[-_/. ]", "", name.lower())


@cache
def timm_names() -> frozenset[str]:
    return _registered("timm", r"^@register_model\ndef (\w+)")


@cache
def torchvision_names() -> frozenset[str]:
    """Its classifiers."""
    return _registered("torchvision", r"^@register_model\(\)\n(?:@[^\n]*\n)*def (\w+)")


def _registered(package: str, pattern: str) -> frozenset[str]:
    folder = Path(find_spec(package).submodule_search_locations[0]) / "models"
    texts = (file.read_text("utf-8") for file in folder.glob("*.py"))
    return frozenset(name for text in texts for name in re.findall(pattern, text, re.M))
