"""From a name to a row of the table, and from a row to a network."""

import re
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import UserError
from .registry import BACKBONES, CIFAR, MODERN, REFERENCES, Backbone

if TYPE_CHECKING:
    from torch import nn


@cache
def get_backbone(name: str) -> Backbone:
    """The row of a name, of the paper's short name, or of `timm:NAME`.

    Raises:
        UserError: there is none; names the nearest.
    """
    check_name(name)
    if name.startswith("timm:"):
        return _from_timm(name)
    return _by_name()[name]


def check_name(name: str) -> None:
    """`find` without timm's metadata: importing timm takes seconds, its names stand in its source text.

    Raises:
        UserError: no such backbone; names the nearest.
    """
    plain = name.removeprefix("timm:").split(".")[0]
    if name.startswith("timm:"):
        if plain not in (known := _timm_names()):
            _unknown_model(name, [f"timm:{n}" for n in known], "timm.list_models()")
    elif name not in (known := _by_name()):
        if plain in _timm_names():
            raise UserError(f"unknown model {name!r}: for timm's, pass -model timm:{name}")
        _unknown_model(name, list(known), "python -m common list")


def create_model(
    backbone: Backbone, num_classes: int, state_dict: dict | None, keep_head: bool = False
) -> "nn.Module":
    """The network with weights (None: random) and a new head of `num_classes` outputs.

    With `keep_head` the head has its weights from `state_dict`, too.

    Raises:
        UserError: weights of another architecture.
    """
    from torch import nn

    from .state_dict import load_pretrained

    net = _create(backbone)
    head = net.get_submodule(backbone.head)
    if isinstance(head, nn.Linear):
        net.set_submodule(backbone.head, nn.Linear(head.in_features, num_classes))
    else:  # timm's networks without a head, or with a convolution as head
        net.reset_classifier(num_classes)
    if state_dict is not None:
        load_pretrained(net, backbone, state_dict, keep_head)
    return net


def _create(row: Backbone) -> "nn.Module":
    """The row's network as its library makes it, random, with as many outputs as it likes."""
    if row.library == "torchvision":
        import torchvision

        # inception's slow initialisation would be overwritten or, from scratch, is no better than the default
        more = (
            {"aux_logits": False, "transform_input": False, "init_weights": False}
            if row.arch == "inception_v3"
            else {}
        )
        return torchvision.models.get_model(row.arch, weights=None, **more)
    if row.library == "timm":
        import timm

        more = {"distillation": False} if row.name.startswith("repvit") else {}  # one head, see its row
        return timm.create_model(row.arch, pretrained=False, **more)
    if row.library == "cifar":
        from . import cifar

        return getattr(cifar, row.arch)()
    from .wavemix import wavemix
    from .wavemix_package import reference_wavemix

    return reference_wavemix() if row.library == "wavemix_package" else wavemix()


@cache
def _by_name() -> dict[str, Backbone]:
    return {
        alias: row for row in (*BACKBONES, *MODERN, *REFERENCES, *CIFAR) for alias in (row.name, *row.aliases)
    }


@cache
def _timm_names() -> set[str]:
    folder = Path(find_spec("timm").submodule_search_locations[0]) / "models"
    texts = (file.read_text("utf-8") for file in folder.glob("*.py"))
    return {name for text in texts for name in re.findall(r"^@register_model\ndef (\w+)", text, re.M)}


def _from_timm(name: str) -> Backbone:
    """A row of timm's own metadata."""
    arch = name.removeprefix("timm:")
    import timm

    try:
        cfg = timm.get_pretrained_cfg(arch)
    except RuntimeError:  # an unknown tag
        tags = ", ".join(n.partition(".")[2] for n in timm.list_pretrained(f"{arch.split('.')[0]}.*"))
        raise UserError(f"timm has no weights {arch!r}: it has {tags}") from None
    if not isinstance(cfg.classifier, str):
        raise UserError(
            f"{name} has no single linear head (timm says {cfg.classifier!r}): take another backbone"
        )
    return Backbone(
        name=name,
        library="timm",
        arch=arch,
        head=cfg.classifier,
        params=None,
        top1=None,
        weights=f"hf:{cfg.hf_hub_id}" if cfg.hf_hub_id else cfg.url or "",
        size=cfg.input_size[1],
        crop=cfg.crop_pct,
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        mean=cfg.mean,
        std=cfg.std,
        min_size=1,
        fixed_size=cfg.fixed_input_size,
        lr=3e-4,  # bearable for most; unmeasured
        cpu_bf16=False,
        pretrained_on=cfg.tag,
    )


def _unknown_model(name: str, known: list[str], where: str) -> None:
    nearest = get_close_matches(name, known, 1, cutoff=0.4)
    hint = f"did you mean {nearest[0]!r}? " if nearest else ""
    raise UserError(f"unknown model {name!r}: {hint}{where} shows all")
