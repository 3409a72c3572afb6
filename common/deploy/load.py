"""The network of a finished run, with its model card."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.registry import Backbone
from ..run import results

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainedModel:
    net: "nn.Module"  # in evaluation mode, on the CPU
    backbone: Backbone
    card: dict[str, Any]  # see `results.write_weights`


def load_model(run_folder: Path, card: dict[str, Any]) -> TrainedModel:
    """The network of a run whose model card, from `results.read_model_card`, is `card`; imports torch."""
    from ..models import build
    from ..models.state_dict import load_state_dict

    backbone = build.get_backbone(card["backbone"])
    if backbone.library == "wavemix_package":  # an autograd.Function: not traceable
        backbone = build.get_backbone("wavemix")  # the same weights, the same logits
    state_dict, size = load_state_dict(run_folder / results.BEST), card["preprocess"].size
    net = build.create_model(backbone, len(card["classes"]), state_dict, keep_head=True, size=size)
    return TrainedModel(net.eval(), backbone, card)
