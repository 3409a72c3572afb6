"""The most confident mistakes on the test images, each beside the regions that support the wrong class."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from ..data.dataset import LoadedDataset
from ..files.atomic import atomic_write
from . import plots
from .fonts import drawable
from .predictions import RunPredictions
from .results import MISTAKES

if TYPE_CHECKING:
    from torch import nn

    from ..data.loader import Batches

N_MISTAKES = 12  # shown


def write_mistakes(
    folder: Path, title: str, dataset: LoadedDataset, test: RunPredictions, net: "nn.Module | None"
) -> None:
    """Plot the misclassified images with the highest confidence, if there are any.

    `net`: its selected weights; None: without the regions.
    """
    names, positions = list(map(drawable, test.classes)), dataset.indices[list(dataset.split.test)]
    predicted, confidence = test.logits.argmax(1), softmax(test.logits, axis=1).max(1)
    wrong = np.flatnonzero(predicted != test.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")][:N_MISTAKES]
    if not len(wrong):
        return
    captions = [f"{names[test.labels[i]]}\npred: {names[predicted[i]]}, {100 * confidence[i]:.0f} %" for i in wrong]
    batches = _batches(dataset, positions[wrong], predicted[wrong])
    images = [batches.display(i) for i in range(len(wrong))] if net is None else _explained(net, batches)
    with atomic_write(folder / MISTAKES) as part:
        plots.mistakes(part, images, captions, f"Most confident errors: {title}")


def _batches(dataset: LoadedDataset, indices: np.ndarray, classes: np.ndarray) -> "Batches":
    """The images as batches of one: the gradient of more may need more memory than a training step."""
    import torch

    from ..data.loader import Batches

    return Batches(
        pixels=dataset.pixels,
        indices=indices,
        labels=classes,
        preprocess=dataset.preprocess,
        batch_size=1,
        device=torch.device("cpu"),
    )


def _explained(net: "nn.Module", batches: "Batches") -> list[np.ndarray]:
    """(H, 2 W, 3) uint8 per image."""
    from ..models.explain import explained_pictures

    batches = replace(batches, device=next(net.parameters()).device)
    return [np.asarray(picture) for picture in explained_pictures(net.eval(), batches)]
