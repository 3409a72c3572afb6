"""Compute the statistics of an image that `check` compares: size, mode, orientation, digest, thumbnail."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...files.threads import thread_map
from ...spec import Preprocess
from ..images.open import has_several_frames, open_image, rgb, upright
from ..images.stored_values import ORIENTATION
from . import duplicates
from .baselines import border_pixels, colours

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class ImageStats:
    size: tuple[int, int]  # (H, W) in pixels, as stored
    mode: str
    upright: bool
    several_frames: bool  # or pages; only the first is used
    digest: bytes  # of the decoded pixels, whatever the file format
    thumbnail: "np.ndarray"
    border: "np.ndarray"  # (24,), see `border_pixels`
    colours: "np.ndarray"  # (6,)


def image_stats(images: Sequence, preprocess: Preprocess | None = None) -> list[ImageStats | str]:
    """The stats of every image, or why it cannot be read."""
    return list(thread_map(lambda i: _stats_of(images[i], preprocess), range(len(images)), "read"))


def _stats_of(source: "str | np.ndarray", preprocess: Preprocess | None) -> ImageStats | str:
    import numpy as np

    try:
        image = open_image(source, preprocess)
        several_frames = has_several_frames(image)
        mode, size, orientation = image.mode, (image.height, image.width), image.getexif().get(ORIENTATION, 1)
        image = rgb(upright(image))
        pixels = np.asarray(image)[None]
        return ImageStats(
            size=size,
            mode=mode,
            upright=orientation in (0, 1),
            several_frames=several_frames,
            digest=hashlib.sha256(b"%d %d " % image.size + pixels.tobytes()).digest(),
            thumbnail=duplicates.thumbnail(image),
            border=border_pixels(pixels)[0],
            colours=colours(pixels)[0],
        )
    except ImportError:
        raise
    except Exception as error:  # decoders fail on broken files in every possible way
        return str(error) or type(error).__name__
