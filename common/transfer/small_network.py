"""A small frozen network for tests of the images; its weights come with a package."""

from typing import TYPE_CHECKING

from ..errors import UserError
from ..models import build, weights
from ..spec import Preprocess

if TYPE_CHECKING:
    from .features import Extractor

BACKBONE, SIZE = "efficientnet_lite0", (64, 64)  # the network and its input in pixels


def local_extractor() -> "Extractor | None":
    """`small_extractor`; None if its weights are not on this machine."""
    try:
        return small_extractor()
    except UserError:
        return None


def small_extractor(preprocess: Preprocess | None = None, offline: bool = True) -> "Extractor":
    """On the CPU, where features hardly depend on the machine.

    Raises:
        UserError: its weights are not available.
    """
    import torch

    from .features import Extractor

    backbone = build.get_backbone(BACKBONE)
    path, sha256 = weights.fetch(backbone, "imagenet", offline)
    return Extractor(
        backbone=backbone,
        weights=path,
        sha256=sha256,
        preprocess=preprocess or backbone.preprocess(SIZE),
        device=torch.device("cpu"),
        machine="",
        precision="fp32",
        seed=0,
    )
