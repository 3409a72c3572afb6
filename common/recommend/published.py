"""Published fine-tuning results of a backbone's weights, from `published.csv`.

The file has 76 networks, on 2 or 11 datasets, with the sources; benchmarks/finetuned_order.py writes it.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..models.registry import Backbone


@dataclass(frozen=True)
class Published:
    top1: float  # on ImageNet
    transfer: float  # mean log odds of fine-tuned accuracy less what `top1` predicts


def find(backbone: Backbone) -> Published | None:
    """None: not published, or another checkpoint of the architecture."""
    if backbone.library == "torchvision":
        return _table().get(f"torchvision:{backbone.arch}.{backbone.enum}")
    arch = backbone.arch if "." in backbone.arch else f"{backbone.arch}.{backbone.pretrained_on}"
    return _table().get(f"{backbone.library}:{arch}")


def imagenet_top1(backbone: Backbone) -> float | None:
    """The backbone's own, or the published one of the same weights."""
    known = find(backbone)
    return known.top1 if known and backbone.top1 is None else backbone.top1


def figures(backbone: Backbone, weights: str) -> dict[str, float | None]:
    """`imagenet_top1` and `transfer` of the published weights; None where unknown, and of other weights.

    With random weights (`none`) `imagenet_top1` is that of the published ones: no prediction uses it then.
    """
    known = find(backbone) if weights in ("imagenet", backbone.weights) else None
    has_top1 = weights in ("imagenet", backbone.weights, "none")
    return {
        "imagenet_top1": imagenet_top1(backbone) if has_top1 else None,
        "transfer": known.transfer if known else None,
    }


@cache
def _table() -> dict[str, Published]:
    with open(Path(__file__).with_name("published.csv"), newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        return {row["weights"]: Published(float(row["imagenet_top1"]), float(row["transfer"])) for row in rows}
