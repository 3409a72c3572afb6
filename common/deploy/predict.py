"""A finished run's network on new pictures: the stored classes, the stored preprocessing."""

from collections.abc import Iterator
from pathlib import Path

from ..data.images.decode import decode, open_image
from ..data.readers import image_files
from ..errors import UserError
from ..run import results

BATCH = 32
CHUNK = 1024  # images in memory at once


def predict(
    run_folder: Path, inputs: list[Path], top: int
) -> Iterator[tuple[str, list[tuple[str, float]] | str]]:
    """(image, its `top` classes with probabilities, most likely first) for files and folders of images.

    Of an image that cannot be read, why.

    Raises:
        UserError: no finished run there, no such image, or none that can be read.
    """
    path = run_folder / results.BEST
    if not path.is_file():
        raise UserError(f"no trained model in {run_folder}: expected {path.name} of a finished run")
    if top < 1:
        raise UserError(f"--top {top}: expected 1 or more")
    images = [image for given in inputs for image in _images(given)]
    _check_any_opens(images)  # before torch takes its seconds
    about = results.read_model_card(path)

    import numpy as np
    import torch

    from ..data.loader import Batches
    from ..models import build, weights
    from ..training.device import make_accelerator as choose_device
    from ..training.evaluate import evaluate

    row, classes = build.get_backbone(about["backbone"]), about["classes"]
    accelerator = choose_device("auto", "fp32", row.cpu_bf16)
    net = build.create_model(row, len(classes), weights.load_state_dict(path), keep_head=True)
    net.to(accelerator.device, memory_format=torch.channels_last)
    for start in range(0, len(images), CHUNK):
        chunk = images[start : start + CHUNK]
        pixels, bad = decode(chunk, about["preprocess"], about["native"])
        batches = Batches(
            pixels=pixels,
            indices=np.arange(len(chunk)),
            labels=np.zeros(len(chunk), np.int64),  # not known, not used
            preprocess=about["preprocess"],
            batch_size=BATCH,
            device=accelerator.device,
        )
        logits = torch.from_numpy(evaluate(net, batches, accelerator))
        probabilities = (logits / (about.get("temperature") or 1)).softmax(1)
        likely, which = (rows.tolist() for rows in probabilities.topk(min(top, len(classes))))
        for i, image in enumerate(chunk):
            yield image, bad.get(i) or [(classes[c], p) for c, p in zip(which[i], likely[i], strict=True)]


def _images(given: Path) -> list[str]:
    if given.is_file():
        return [str(given)]
    if not given.is_dir():
        raise UserError(f"no image or folder {given}")
    found = sorted(path for path, _ in image_files(given))
    if not found:
        raise UserError(f"no images in {given}")
    return found


def _check_any_opens(images: list[str]) -> None:
    why = None
    for image in images:
        try:
            open_image(image)
            return
        except Exception as error:  # whatever a broken file makes its reader do
            why = why or error
    raise UserError(f"none of {len(images):,} images can be read, the first is {images[0]} ({why})")
