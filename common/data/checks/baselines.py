"""Baselines that do not see the object: a class predicted from file metadata, border pixels or colours.

Border pixels: Noyan 2022, arXiv 2206.04374. The classifier is extremely randomized trees (Geurts et al. 2006).
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from .file_metadata import Metadata, read_metadata

if TYPE_CHECKING:
    import numpy as np
    from sklearn.ensemble import ExtraTreesClassifier

N_TREES = 50
MIN_FIT = 50  # images: fitted to fewer, a score would be noise
GRID = 32  # pixels per side that `colours` reads


def baseline_features(images: Any, indices: Sequence[int], pixels: "np.ndarray") -> "Iterator[tuple[str, np.ndarray]]":
    """(baseline, (N, F) features) for these of the `images` (`Samples.images`) and their (N, H, W, 3) `pixels`."""
    if isinstance(images, list):  # files
        yield "file_metadata", encode_metadata(read_metadata([images[i] for i in indices]))
    yield "border_pixels", border_pixels(pixels)
    yield "colours", colours(pixels)


def encode_metadata(files: Sequence[Metadata]) -> "np.ndarray":
    """(N, F) float64: numbers as they are, every text as an indicator."""
    from sklearn.feature_extraction import DictVectorizer

    return DictVectorizer(sparse=False).fit_transform([{"read": bool(file), **file} for file in files])


def border_pixels(images: "np.ndarray") -> "np.ndarray":
    """(N, H, W, 3) -> (N, 24): the corners and the middles of the sides."""
    import numpy as np

    height, width = images.shape[1:3]
    rows, columns = (0, height // 2, height - 1), (0, width // 2, width - 1)
    border = [(y, x) for y in rows for x in columns if (y, x) != (rows[1], columns[1])]
    return np.concatenate([images[:, y, x] for y, x in border], axis=1)


def colours(images: "np.ndarray") -> "np.ndarray":
    """(N, H, W, 3) -> (N, 6): mean and standard deviation of every channel, over a grid of about 32 x 32 pixels."""
    import numpy as np

    step = max(1, min(images.shape[1:3]) // GRID)
    grid = images[:, ::step, ::step].astype(np.float32)
    return np.concatenate((grid.mean((1, 2)), grid.std((1, 2))), axis=1)


def extra_trees(class_weight: str | None = None) -> "ExtraTreesClassifier":
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(N_TREES, min_samples_leaf=2, class_weight=class_weight, random_state=0)
