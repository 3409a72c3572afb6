"""What an image shows: its size, its mode, whether it lies on its side, its content and a thumbnail of it."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..images.decode import ORIENTATION, open_image, rgb, upright
from . import duplicates

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, kw_only=True)
class ImageStats:
    size: tuple[int, int]  # (H, W) in pixels, as stored
    mode: str
    upright: bool
    digest: bytes  # of the decoded pixels: the same picture in another file format has the same
    thumbnail: "np.ndarray"


def image_stats(images: Sequence) -> list[ImageStats | str]:
    """A `Look` at every image, or why it cannot be read. Pillow releases the interpreter's lock in its threads."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        looks = pool.map(lambda i: _look(images[i]), range(len(images)))
        return list(tqdm(looks, "look", len(images), unit="img", leave=False, disable=None))


def _look(source: "str | np.ndarray") -> ImageStats | str:
    from PIL import Image

    try:
        image = open_image(source)
        mode, size, turn = image.mode, (image.height, image.width), image.getexif().get(ORIENTATION, 1)
        image = rgb(upright(image))
        return ImageStats(
            size=size,
            mode=mode,
            upright=turn in (0, 1),
            digest=hashlib.sha256(b"%d %d " % image.size + image.tobytes()).digest(),
            thumbnail=duplicates.thumbnail(image),
        )
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return str(error) or type(error).__name__
