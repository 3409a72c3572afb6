"""Feature extraction: a network without its head, run once on each image and cached on disk.

<cache>/features/<key>.safetensors     (N, D) float32; in the header how fast they came

The key tells images, preprocessing, network, weights, number format and machine: another of any is another file.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from torch import nn
from tqdm import tqdm

from ..data.images.cache import content_hash, decode_cached
from ..data.images.decode import stored_size
from ..data.loader import Batches, pixels_to_device
from ..errors import UserError, disk_errors
from ..files.atomic import atomic_write
from ..files.disk_cache import CACHE_VARIABLE, cache_dir
from ..models import build, weights
from ..models.registry import Backbone
from ..spec import Preprocess
from ..training.device import out_of_memory, prepare

FORM = 1  # of what is computed: one more makes older files void
LARGEST = {"cpu": 32, "cuda": 512}  # images at once; more is no faster
NUMBERS = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Features:
    values: np.ndarray  # (N, D) float32
    images_per_second: float  # from decoded images to features, without the first batch
    remembered: bool = False  # they come from the disk; the rate is that of when they were made


def features(
    row: Backbone,
    file: tuple[Path | None, str | None],
    images: Any,
    rows: Sequence[int],
    preprocess: Preprocess,
    native: tuple[int, int] | None,
    device: torch.device,
    machine: str,
    precision: str,
    seed: int,
    batch_size: int | None = None,
) -> Features:
    """What the row's network makes of `rows` of the images (`Samples.images`), from the disk if it is there.

    `file`: its weights and their SHA-256, see `weights.fetch`; without, they are random, drawn by `seed`. `machine`: the
    device's name. `precision`: fp32, bf16 or fp16. `batch_size`: images at once; None: as many as make it fast.

    Raises:
        UserError: the memory does not suffice for one image, or what comes out is no longer numbers.
    """
    _, digest = file
    about = {
        "form": FORM,
        "images": content_hash(images, stored_size(preprocess, native), preprocess),
        "rows": hashlib.sha256(np.asarray(rows, np.int64)).hexdigest(),
        "preprocess": asdict(preprocess),
        "network": (row.library, row.arch, row.head),
        "weights": digest or f"random, seed {seed}, {_libraries()}",
        "machine": machine,
        "precision": precision,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:32]
    kept = cache_dir() / "features" / f"{key}.safetensors"
    if there := _read(kept):
        return there
    pixels, _ = decode_cached(images, preprocess, native)
    made = fresh(row, file, pixels, rows, preprocess, device, precision, seed, batch_size)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        kept.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(kept, CACHE_VARIABLE) as part:
        told = {"images_per_second": made.images_per_second, **about}
        save_file({"features": made.values}, part, {"about": json.dumps(told)})
    return made


def fresh(
    row: Backbone,
    file: tuple[Path | None, str | None],
    pixels: np.ndarray,
    rows: Sequence[int],
    preprocess: Preprocess,
    device: torch.device,
    precision: str,
    seed: int,
    batch_size: int | None = None,
) -> Features:
    """What `features` returns, of decoded images and without the disk."""
    batches = Batches(
        pixels=pixels_to_device(pixels, device),
        indices=np.asarray(rows),
        labels=np.zeros(len(rows), np.int64),  # not used
        preprocess=preprocess,
        batch_size=batch_size or LARGEST[device.type],
        device=device,
    )
    return extract(network(row, file[0], 2, seed), row, batches, precision)


def network(row: Backbone, path: Path | None, classes: int, seed: int) -> nn.Module:
    """The row's network with the weights of a file, or random ones: the same whatever the number of classes."""
    torch.manual_seed(seed)
    return build.build(row, classes, path and weights.open_file(path))


def extract(net: nn.Module, row: Backbone, batches: Batches, precision: str) -> Features:
    """The features of all images in `batches`, as many at once as fit: its batch size, or half of it, or ...

    Raises:
        UserError: not one fits, or what comes out is no longer numbers.
    """
    device = batches.device
    prepare(device, precision)
    net = without_head(net, row.head).to(device, memory_format=batches.memory_format).eval()
    number = NUMBERS.get(precision)
    made = None
    while made is None:
        try:
            with torch.inference_mode(), torch.autocast(device.type, number, enabled=number is not None):
                made = _forward(net, batches, row.name)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            if batches.batch_size == 1:
                raise UserError("out of memory for a single image: take a smaller --image_size") from None
            batches = replace(batches, batch_size=batches.batch_size // 2)
    if not np.isfinite(made.values).all():
        raise UserError(f"its features are NaN or infinite in {precision}")
    return made


def without_head(net: nn.Module, head: str) -> nn.Module:
    """The network changed so that it returns what its head, the dotted path of the last layer, was given."""
    if isinstance(net.get_submodule(head), nn.Linear):
        net.set_submodule(head, nn.Identity())
    else:  # timm's networks with a convolution for one
        net.reset_classifier(0)
    return net


def set_head(net: nn.Module, head: str, weight: np.ndarray, bias: np.ndarray) -> None:
    """Let the last layer, of C outputs, be this linear one: (C, D) and (C,) float32."""
    layer = net.get_submodule(head)  # a linear layer, or a convolution of 1 x 1
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(bias))


def _libraries() -> dict[str, str]:
    """Whose versions decide what random weights are."""
    return {name: version(name) for name in ("torch", "torchvision", "timm")}


def _forward(net: nn.Module, batches: Batches, title: str) -> Features:
    made: list[np.ndarray] = []
    start, before = time.perf_counter(), 0  # when the clock started, and how many images came before
    with tqdm(total=len(batches), desc=title, unit="img", leave=False, disable=None) as bar:
        for images, _ in replace(batches, micro_batches=2).eval():  # it takes twice of what trains at once
            made.append(net(images).flatten(1).float().cpu().numpy())  # which waits for a GPU
            bar.update(len(images))
            if not before and len(images) < len(batches):
                start, before = time.perf_counter(), len(images)
    return Features(np.concatenate(made), (len(batches) - before) / (time.perf_counter() - start))


def _read(path: Path) -> Features | None:
    """None where there are none, or what is there is cut short."""
    try:
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()["about"])
            return Features(file.get_tensor("features"), about["images_per_second"], remembered=True)
    except (OSError, SafetensorError):
        return None
