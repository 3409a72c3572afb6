"""The images that a network was trained on, as 64-bit hashes in the header of its weights."""

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import LoadedDataset
from ..models import weights
from ..models.registry import Backbone
from ..spec import RunConfig
from .results import read_trained_on

Hashes = np.ndarray  # (N,) uint64


def sketch(config: RunConfig, backbone: Backbone, dataset: LoadedDataset) -> str:
    """Base64 of the sorted hashes of the training and validation images, and of those that the initial weights have."""
    try:
        trained = image_hashes(dataset, dataset.split.train + dataset.split.val)
    except OSError:  # moved away while the run trained on the cache: the weights are still worth writing
        trained = np.empty(0, np.uint64)
    return b64encode(np.union1d(trained, _initial(config, backbone)).astype("<u8").tobytes()).decode()


def seen_in_test(config: RunConfig, backbone: Backbone, dataset: LoadedDataset) -> np.ndarray:
    """(N,) bool: the test images that the initial weights, of one of our runs, were trained on."""
    initial = _initial(config, backbone)
    if not len(initial):
        return np.zeros(len(dataset.split.test), bool)
    return np.isin(image_hashes(dataset, dataset.split.test), initial)


def seen_caveats(config: RunConfig, seen: np.ndarray) -> list[str]:
    """One line, if any of the test images was seen."""
    if not seen.any():
        return []
    return [
        f"{seen.sum():,} of the {len(seen):,} test images were trained on by the initial weights ({config.weights}): "
        "the score is optimistic"
    ]


def image_hashes(dataset: LoadedDataset, positions: Sequence[int]) -> Hashes:
    """Of the bytes of files, or of the pixels of arrays."""
    images = dataset.samples.images
    return np.array([_hash(images[i]) for i in dataset.indices[list(positions)]], np.uint64)


def _hash(image: Any) -> int:
    content = Path(image).read_bytes() if isinstance(image, str) else np.ascontiguousarray(image).tobytes()
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())


def _initial(config: RunConfig, backbone: Backbone) -> Hashes:
    """Those in the header of the initial weights; none of weights that are not of one of our runs."""
    is_file = config.weights not in ("imagenet", "none") or backbone.weights.startswith("file:")
    path = weights.locate(backbone, config.weights, config.offline) if is_file else None
    return np.frombuffer(b64decode(read_trained_on(path) if path else ""), "<u8")
