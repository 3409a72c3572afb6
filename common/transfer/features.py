"""Feature extraction: a network without its head, run once on each image and cached on disk.

<cache>/features/<key>.safetensors     (N, D) float32; the header has their images per second

The key is a hash of images, preprocessing, network, weights, precision and machine.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from ..metrics import cost
from ..models import build
from ..models.registry import Backbone
from ..models.state_dict import load_state_dict
from ..spec import Preprocess
from ..training.device import autocast, is_out_of_memory, prepared

FORMAT = 1  # of the files and their computation: increase it to invalidate older ones
MAX_BATCH = {"cpu": 32, "cuda": 512}  # images; larger is not faster


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A frozen network on a device: all that features depend on, except the images."""

    backbone: Backbone
    weights: Path | None  # a file; None: random, drawn by `seed`
    sha256: str | None  # of that file
    preprocess: Preprocess
    device: torch.device
    machine: str  # the device's name
    precision: str  # fp32, bf16 or fp16
    seed: int
    batch_size: int | None = None  # None: the fastest for the device


@dataclass(frozen=True)
class Features:
    values: np.ndarray  # (N, D) float32
    images_per_second: float  # from decoded images to features, without the first batch, see `cost.stopwatch`
    cached: bool = False  # loaded from the disk; the rate is the one measured when they were computed


def cached_features(
    extractor: Extractor, images: Any, indices: Sequence[int], native: tuple[int, int] | None
) -> Features:
    """The features of `indices` of the images (`Samples.images`), loaded from the disk or computed and stored there.

    Raises:
        UserError: out of memory for one image, or features that are not finite.
    """
    backbone, preprocess = extractor.backbone, extractor.preprocess
    random = f"random, seed {extractor.seed}, {_library_versions()}"
    metadata = {
        "form": FORMAT,
        "images": content_hash(images, stored_size(preprocess, native), preprocess),
        "rows": hashlib.sha256(np.asarray(indices, np.int64)).hexdigest(),
        "preprocess": preprocess.to_dict(),
        "network": (backbone.library, backbone.arch, backbone.head),
        "weights": extractor.sha256 or random,
        "machine": extractor.machine,
        "precision": extractor.precision,
    }
    key = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()[:32]
    path = cache_dir() / "features" / f"{key}.safetensors"
    if cached := _read(path):
        return cached
    pixels, _ = decode_cached(images, preprocess, native)
    features = extract_features(extractor, pixels, indices)
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, CACHE_VARIABLE) as part:
        metadata = {"images_per_second": features.images_per_second, **metadata}
        save_file({"features": features.values}, part, {"about": json.dumps(metadata)})
    return features


def extract_features(extractor: Extractor, pixels: np.ndarray, indices: Sequence[int]) -> Features:
    """The features of `indices` of the decoded images, computed.

    Raises:
        UserError: out of memory for one image, or features that are not finite.
    """
    device = extractor.device
    batches = Batches(
        pixels=pixels_to_device(pixels, device),
        indices=np.asarray(indices),
        labels=np.zeros(len(indices), np.int64),  # not used
        preprocess=extractor.preprocess,
        batch_size=extractor.batch_size or MAX_BATCH[device.type],
        device=device,
    )
    size = extractor.preprocess.size
    net = seeded_model(extractor.backbone, extractor.weights, 2, extractor.seed, size)
    return forward_features(net, extractor.backbone, batches, extractor.precision)


def seeded_model(
    backbone: Backbone, path: Path | None, num_classes: int, seed: int, size: tuple[int, int] | None = None
) -> nn.Module:
    """The network with the weights of a file, or random ones that do not depend on the number of classes."""
    torch.manual_seed(seed)
    return build.create_model(backbone, num_classes, path and load_state_dict(path), size=size)


def forward_features(net: nn.Module, backbone: Backbone, batches: Batches, precision: str) -> Features:
    """The features of all images in `batches`; the batch size is halved until it fits into memory.

    Raises:
        UserError: out of memory for one image, or features that are not finite.
    """
    device = batches.device
    net = remove_head(net, backbone.head).to(device, memory_format=batches.memory_format).eval()
    features = None
    with prepared(device, precision), torch.inference_mode():
        while features is None:
            try:
                with autocast(device, precision):
                    features = _forward(net, batches, backbone.name)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if batches.batch_size == 1:
                    raise UserError("out of memory for a single image: use a smaller --image_size") from None
                batches = replace(batches, batch_size=batches.batch_size // 2)
    if not np.isfinite(features.values).all():
        raise UserError(f"its features are NaN or infinite in {precision}")
    return features


def remove_head(net: nn.Module, head: str) -> nn.Module:
    """The network changed to return the input of its head, the dotted path of the last layer."""
    if isinstance(net.get_submodule(head), nn.Linear) or not hasattr(net, "reset_classifier"):
        net.set_submodule(head, nn.Identity())
    else:  # timm's networks with a convolution as head
        net.reset_classifier(0)
    return net


def set_head(net: nn.Module, head: str, weight: np.ndarray, bias: np.ndarray) -> None:
    """Copy `weight` (C, D) and `bias` (C,), float32, into the last layer."""
    layer = net.get_submodule(head)  # a linear layer, or a convolution of 1 x 1
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight).view_as(layer.weight))
        layer.bias.copy_(torch.from_numpy(bias))


def _library_versions() -> dict[str, str]:
    """The versions that random weights depend on."""
    return {name: version(name) for name in ("torch", "torchvision", "timm")}


def _forward(net: nn.Module, batches: Batches, title: str) -> Features:
    features: list[np.ndarray] = []
    seconds, warmup = cost.stopwatch(batches.device), 0  # it starts after `warmup` images
    with tqdm(total=len(batches), desc=title, unit="img", leave=False, disable=None) as bar:
        for images, _ in replace(batches, micro_batches=2).eval():  # `eval` takes twice a micro-batch
            features.append(net(images).flatten(1).float().cpu().numpy())  # waits for a GPU
            bar.update(len(images))
            if not warmup and len(images) < len(batches):
                seconds, warmup = cost.stopwatch(batches.device), len(images)
    return Features(np.concatenate(features), (len(batches) - warmup) / seconds())


def _read(path: Path) -> Features | None:
    """None: no such file, or a truncated one."""
    try:
        with safe_open(path, "numpy") as file:
            metadata = json.loads(file.metadata()["about"])
            return Features(file.get_tensor("features"), metadata["images_per_second"], cached=True)
    except (OSError, SafetensorError):
        return None
