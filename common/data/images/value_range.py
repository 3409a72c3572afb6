"""The value range of a dataset with more than 8 bits per channel: one for all its images, which keeps their brightness."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from ...errors import UserError
from ...files.disk_cache import cached
from ...spec import Preprocess
from .cache import files_hash
from .open import high_depth_values, is_high_depth_file
from .stored_values import FULL_16_BITS, BandError

VERSION = 1  # of the estimate
N_IMAGES = 256  # random ones
N_VALUES = 1 << 16  # per image, evenly spaced
IMAGE_PERCENTILES = (0.1, 99.9)  # of an image's values, without dead and hot pixels
DATASET_PERCENTILES = (1, 99)  # of the images' lows and highs, without broken images


def with_value_range(preprocess: Preprocess, images: Sequence, train: Sequence[int], cache: bool = True) -> Preprocess:
    """`preprocess` with the value range of the images at positions `train`, unless it has one or they have 8 bits.

    Raises:
        UserError: more than three bands, and none selected; integers mixed with floats; a range for 8-bit images.
    """
    if not isinstance(images, list):
        if preprocess.value_range or preprocess.bands:
            raise UserError("--value_range and --bands: this dataset is stored as 8-bit RGB arrays; drop them")
        return preprocess
    sample = [images[i] for i in _sample(train)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        high_depth = [path for path, high in zip(sample, pool.map(is_high_depth_file, sample), strict=True) if high]
    estimate: dict[str, Any] = {"range": None}
    if high_depth:
        compute = partial(_estimate, high_depth, preprocess.bands)
        key = {"version": VERSION, "files": files_hash(high_depth), "bands": preprocess.bands} if cache else {}
        estimate = cached("value_ranges", key, compute) if cache else compute()
    if estimate["range"] is None:
        if preprocess.value_range:
            raise UserError("--value_range: the images have 8 bits per channel, used unchanged; drop it")
        return preprocess
    if preprocess.value_range:
        return preprocess
    if len(estimate["kinds"]) > 1:
        raise UserError(
            f"the images mix {' and '.join(estimate['kinds'])} values, which no range fits: convert them to one kind, "
            "or pass --value_range LOW HIGH"
        )
    return replace(preprocess, value_range=tuple(estimate["range"]))


def _sample(train: Sequence[int]) -> Sequence[int]:
    import numpy as np

    if len(train) <= N_IMAGES:
        return train
    return sorted(np.random.default_rng(0).choice(train, N_IMAGES, replace=False).tolist())


def _estimate(paths: Sequence[str], bands: tuple[int, int, int] | None) -> dict[str, Any]:
    """{"range": (low, high), or None if all have 8 bits, "kinds": of values, "images": number with more bits}."""
    import numpy as np

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stats = [s for s in pool.map(partial(_percentiles, bands=bands), paths) if s]
    if not stats:
        return {"range": None, "kinds": [], "images": 0}
    kinds, lows, highs = zip(*stats, strict=True)
    low = float(np.percentile(lows, DATASET_PERCENTILES[0]))
    high = float(np.percentile(highs, DATASET_PERCENTILES[1]))
    if set(kinds) == {"integer"}:
        low, high = float(np.floor(low)), float(np.ceil(high))
        if low >= 0 and FULL_16_BITS[1] / 2 < high <= FULL_16_BITS[1]:
            low, high = FULL_16_BITS
    else:
        low, high = float(f"{low:.4g}"), float(f"{high:.4g}")
    return {"range": (low, high if high > low else low + 1), "kinds": sorted(set(kinds)), "images": len(stats)}


def _percentiles(path: str, bands: tuple[int, int, int] | None) -> tuple[str, float, float] | None:
    """The kind of an image's values, low and high; None if it has 8 bits or cannot be read (decoding reports it)."""
    import numpy as np

    try:
        values = high_depth_values(path, bands)
    except BandError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception:  # decoders fail on broken files in every possible way
        return None
    if values is None:
        return None
    kind = "float" if values.dtype.kind == "f" else "integer"
    values = values.ravel()[:: max(1, values.size // N_VALUES)]
    values = values[np.isfinite(values)]
    return (kind, *map(float, np.percentile(values, IMAGE_PERCENTILES))) if values.size else None
