"""A finished run's network as a classifier of image files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ..data.images.decode import decode
from ..data.loader import Batches
from ..models.explain import Explainer, make_explainer
from ..training.device import make_accelerator
from ..training.evaluate import evaluate
from .load import TrainedModel, load_model

BATCH = 32


@dataclass(frozen=True)
class Predictions:
    """N images; those that cannot be read are black."""

    batches: Batches
    probabilities: Tensor  # (N, classes)
    unreadable: dict[int, str]  # {position: reason}


@dataclass(frozen=True)
class Classifier:
    model: TrainedModel
    accelerator: Accelerator

    def predict(self, images: Sequence[str]) -> Predictions:
        """Probabilities, calibrated if the run has a validation set."""
        card = self.model.card
        pixels, unreadable = decode(images, card["preprocess"], card["native"])
        batches = Batches(
            pixels=pixels,
            indices=np.arange(len(images)),
            labels=np.zeros(len(images), np.int64),  # unknown, not used
            preprocess=card["preprocess"],
            batch_size=BATCH,
            device=self.accelerator.device,
        )
        logits = torch.from_numpy(evaluate(self.model.net, batches, self.accelerator))
        return Predictions(batches, (logits / (card.get("temperature") or 1)).softmax(1), unreadable)

    def explain(self, predictions: Predictions) -> Iterator[np.ndarray]:
        """(H, W) in 0..1 per image: the regions that support its most likely class."""
        start, classes = 0, predictions.probabilities.argmax(1).to(self.accelerator.device)
        for images, _ in predictions.batches.eval():
            yield from self.explainer.explain(images, classes[start : start + len(images)]).cpu().numpy()
            start += len(images)

    @cached_property
    def explainer(self) -> Explainer:
        return make_explainer(self.model.net, self.model.card["preprocess"].size)


def load_classifier(run_folder: Path, card: dict[str, Any]) -> Classifier:
    """The network of a run with this model card, on the GPU if there is one."""
    model = load_model(run_folder, card)
    accelerator = make_accelerator("auto", "fp32", model.backbone.cpu_bf16)
    model.net.to(accelerator.device, memory_format=torch.channels_last)
    return Classifier(model, accelerator)
