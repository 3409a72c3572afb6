"""Predictions of a finished run's network for new images, with its classes and preprocessing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images.decode import decode
from ..data.images.open import open_image
from ..data.readers import image_files
from ..errors import UserError
from ..run import results
from ..spec import Preprocess

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

BATCH = 32
CHUNK = 1024  # images in memory at once


def predict(
    run_folder: Path, inputs: list[Path], top: int
) -> Iterator[tuple[str, list[tuple[str, float]] | str]]:
    """(image, its `top` classes with probabilities, most likely first) for files and folders of images.

    For an unreadable image, the reason replaces the classes.

    Raises:
        UserError: no finished run, no such image, or none that can be read.
    """
    path = run_folder / results.BEST
    if not path.is_file():
        raise UserError(f"no trained model in {run_folder}: expected {path.name} of a finished run")
    if top < 1:
        raise UserError(f"--top {top}: expected 1 or more")
    images = [image for given in inputs for image in _images(given)]
    metadata = results.read_model_card(path)
    _check_any_opens(images, metadata["preprocess"])  # before torch is imported

    from ..training.device import make_accelerator
    from .load import load_model

    model, classes = load_model(run_folder, metadata), metadata["classes"]
    accelerator = make_accelerator("auto", "fp32", model.backbone.cpu_bf16)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        probabilities, unreadable = _probabilities(model.net, chunk, metadata, accelerator)
        values, labels = (part.tolist() for part in probabilities.topk(min(top, len(classes))))
        for i, image in enumerate(chunk):
            ranked = [(classes[label], p) for label, p in zip(labels[i], values[i], strict=True)]
            yield image, unreadable.get(i) or ranked


def _probabilities(
    net: "nn.Module", images: list[str], metadata: dict[str, Any], accelerator: "Accelerator"
) -> tuple["Tensor", dict[int, str]]:
    """(images, classes) probabilities, and {position: reason} of unreadable images."""
    import numpy as np
    import torch

    from ..data.loader import Batches
    from ..training.evaluate import evaluate

    net.to(accelerator.device, memory_format=torch.channels_last)
    pixels, unreadable = decode(images, metadata["preprocess"], metadata["native"])
    batches = Batches(
        pixels=pixels,
        indices=np.arange(len(images)),
        labels=np.zeros(len(images), np.int64),  # unknown, not used
        preprocess=metadata["preprocess"],
        batch_size=BATCH,
        device=accelerator.device,
    )
    logits = torch.from_numpy(evaluate(net, batches, accelerator))
    return (logits / (metadata.get("temperature") or 1)).softmax(1), unreadable


def _images(given: Path) -> list[str]:
    if given.is_file():
        return [str(given)]
    if not given.is_dir():
        raise UserError(f"no image or folder {given}")
    found = sorted(path for path, _ in image_files(given))
    if not found:
        raise UserError(f"no images in {given}")
    return found


def _check_any_opens(images: list[str], preprocess: Preprocess) -> None:
    first_error = None
    for image in images:
        try:
            open_image(image, preprocess)
            return
        except Exception as error:  # decoders fail on broken files in every possible way
            first_error = first_error or error
    raise UserError(f"none of {len(images):,} images can be read, the first is {images[0]} ({first_error})")
