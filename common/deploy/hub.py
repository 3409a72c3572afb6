"""Export of a finished run as a folder of the Hugging Face Hub: config.json, model.safetensors and a model card.

The layout is timm's, so `timm.create_model("local-dir:FOLDER", pretrained=True)` opens networks of timm. The card of
another network prints a loader.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.atomic import atomic_write, check_new
from ..run import results
from . import hub_loaders
from .export import check_difference, with_normalisation, with_one_crop
from .load import TrainedModel, load_model

if TYPE_CHECKING:
    from torch import nn

WEIGHTS, CARD, PICTURE = "model.safetensors", "README.md", "confusion.png"
WAVEMIX_MULTIPLE = 32  # pixels; the package takes no other sizes


def is_hub_folder(path: Path) -> bool:
    return (path / results.CONFIG).is_file() and (path / WEIGHTS).is_file()


def export_hub(run_folder: Path, out: Path | None) -> tuple[Path, float]:
    """Write the folder; returns it and the largest difference of a logit of the network that its loader opens.

    Raises:
        UserError: no finished run, or the folder exists already.
        RuntimeError: a logit differs by more than `export.TOLERANCE` (a bug); nothing is written.
    """
    card = results.read_model_card(run_folder / results.BEST)
    result = results.read_json(run_folder / results.RESULT)
    out = out or run_folder / "hub"
    check_new(out, "-o")

    from safetensors.torch import save_file

    from .hub_card import render_card

    model, preprocess = load_model(run_folder, card), card["preprocess"]
    load = _loader(model)
    with atomic_write(out, "-o") as part:
        part.mkdir()
        (part / CARD).write_text(render_card(run_folder, model, result, load), "utf-8")
        (part / results.CONFIG).write_text(json.dumps(_config(model), indent=2) + "\n", "utf-8")
        weights = {name: tensor.contiguous() for name, tensor in model.net.state_dict().items()}
        save_file(weights, part / WEIGHTS, {"format": "pt"})
        shutil.copyfile(run_folder / PICTURE, part / PICTURE)
        nets = (with_normalisation(net, preprocess) for net in (model.net, load(part)))
        return out, check_difference(*nets, preprocess)


def _loader(model: TrainedModel) -> Callable[[Path], "nn.Module"]:
    """The function that opens the folder; its source is in the card."""
    backbone, size = model.backbone, model.card["preprocess"].size
    if backbone.library == "timm":
        return hub_loaders.load_timm
    if backbone.library == "torchvision":
        squeezenet = backbone.arch.startswith("squeezenet")
        return hub_loaders.load_squeezenet if squeezenet else hub_loaders.load_torchvision
    if backbone.library == "wavemix" and not any(side % WAVEMIX_MULTIPLE for side in size):
        return hub_loaders.load_wavemix
    return hub_loaders.load_in_checkout


def _config(model: TrainedModel) -> dict[str, Any]:
    """config.json as `timm.models.save_for_hf` writes it, for networks of other libraries, too."""
    from ..models.build import library_args

    net, backbone, card = model.net, model.backbone, model.card
    preprocess, classes = with_one_crop(card), card["classes"]
    timm_config = getattr(net, "pretrained_cfg", {})
    return {
        "architecture": timm_config.get("architecture", backbone.arch),
        "num_classes": len(classes),
        "label_names": classes,
        "model_args": library_args(backbone, preprocess.size),
        "pretrained_cfg": {
            "custom_load": False,
            "input_size": (3, *preprocess.size),
            "fixed_input_size": backbone.fixed_size,
            "interpolation": preprocess.interpolation,
            "crop_pct": preprocess.crop,
            "crop_mode": "squash" if preprocess.squash else "center",
            "mean": preprocess.mean,
            "std": preprocess.std,
            "num_classes": len(classes),
            "first_conv": timm_config.get("first_conv"),
            "classifier": backbone.head,
        },
        "backbone": backbone.name.partition("=")[0],
        "temperature": card.get("temperature"),
    }
