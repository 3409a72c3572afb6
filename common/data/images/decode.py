"""From image files to one uint8 array: each image decoded, turned upright, converted to RGB and resized once."""

import math
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import UserError
from ...files.threads import thread_map
from ...spec import Preprocess
from .open import has_several_frames, open_image, rgb, upright

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if its sides stay this many times longer than the result's
DRAFT = 2


def decode(
    images: "Sequence[str] | Sequence[np.ndarray]", preprocess: Preprocess, native: tuple[int, int] | None
) -> tuple["np.ndarray", dict[int, str]]:
    """Paths or arrays (H, W, 3) uint8 -> ((N, H, W, 3) uint8, {position: reason} of unreadable ones).

    (H, W) is `stored_size`. Unreadable images are black.

    Raises:
        UserError: they do not fit into memory.
    """
    import numpy as np

    size = stored_size(preprocess, native)
    if isinstance(images, np.ndarray) and images.shape[1:3] == size:
        return images, {}
    pixels = _allocate((len(images), *size, 3))
    return pixels, decode_each(images, size, preprocess, range(len(images)), pixels.__setitem__)


def decode_each(
    images: Sequence,
    size: tuple[int, int],
    preprocess: Preprocess,
    positions: Iterable[int],
    write: "Callable[[int, np.ndarray], None]",
) -> dict[int, str]:
    """Pass the (H, W, 3) uint8 pixels of the images at `positions` to `write`; returns {position: reason} of unreadable ones."""
    bad: dict[int, str] = {}
    several: dict[int, bool] = {}

    def decode_one(i: int) -> None:
        try:
            image = open_image(images[i], preprocess)
            several[i] = has_several_frames(image)
            pixels = fit(image, size, preprocess)
        except MemoryError:
            name = images[i] if isinstance(images[i], str) else f"image {i}"
            raise UserError(f"no memory left to decode {name}: make it smaller, or remove it") from None
        except ImportError:
            raise
        except Exception as error:  # decoders fail on broken files in every possible way
            bad[i] = str(error) or type(error).__name__
        else:
            write(i, pixels)

    positions = list(positions)
    for _ in thread_map(decode_one, positions, "decode"):
        pass
    if first := [i for i in sorted(several) if several[i]][:1]:
        print(
            f"{sum(several.values()):,} of {len(positions):,} images have several frames or pages, the first is "
            f"{images[first[0]]!r}: only the first frame is used",
            file=sys.stderr,
        )
    return bad


def _allocate(shape: tuple[int, ...]) -> "np.ndarray":
    """Zeros, if they fit into the available memory: checked first, as Linux overcommits."""
    import numpy as np

    needed, free = math.prod(shape), math.inf
    with suppress(OSError, KeyError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        meminfo = dict(line.split(":") for line in file)
        free = int(meminfo["MemAvailable"].split()[0]) * 1024
    try:
        if needed < free:
            return np.zeros(shape, np.uint8)
    except MemoryError:  # a limit on the process
        pass
    raise UserError(
        f"the decoded images take {needed / 1e9:.1f} GB of memory, more than is free: use a smaller --image_size or fewer "
        "images, or drop --no_cache (the cache is on disk)"
    )


def stored_size(preprocess: Preprocess, native: tuple[int, int] | None) -> tuple[int, int]:
    """(H, W) of decoded images: the input size of the network plus the margins that evaluation crops.

    The `native` size if it is no larger than that: batches are then resized on the device, which keeps 60,000 CIFAR images at 184 MB.
    """
    seen = preprocess.crop_pct or 1
    height, width = (side + 2 * round(side * (1 / seen - 1) / 2) for side in preprocess.size)
    return native if native and native[0] <= height and native[1] <= width else (height, width)


def eval_margins(size: tuple[int, int], preprocess: Preprocess) -> tuple[int, int]:
    """(top, left): whole pixels that evaluation crops on each side of images of (H, W), see `Preprocess.crop_pct`."""
    top, left = (round(side * (1 - (preprocess.crop_pct or 1)) / 2) for side in size)
    return top, left


def fit(image: "Image.Image", size: tuple[int, int], preprocess: Preprocess) -> "np.ndarray":
    """An image -> (H, W, 3) uint8: resized to cover `size / crop`, then center-cropped. The aspect ratio is kept, unless
    `squash`."""
    import numpy as np
    from PIL import Image

    height, width = size
    draft = round(DRAFT * max(size) / preprocess.crop)
    image.draft(None, (draft, draft))  # of JPEGs; both sides stay longer, upright or not
    image = upright(image)
    image = rgb(image)  # separate statements: fewer copies of a large image in memory
    if image.size != (width, height):
        box_w, box_h = image.size
        if not preprocess.squash:
            scale = max(height / image.height, width / image.width) / preprocess.crop
            box_w = min(width / scale, image.width)  # rounding may overshoot
            box_h = min(height / scale, image.height)
        left, top = (image.width - box_w) / 2, (image.height - box_h) / 2
        resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[
            preprocess.interpolation
        ]
        image = image.resize((width, height), resample, box=(left, top, left + box_w, top + box_h))
    return np.asarray(image)


def raise_unreadable(bad: dict[int, str], images: Sequence[str]) -> None:
    """Stop if images cannot be read.

    Raises:
        UserError: names the first one.
    """
    if bad:
        first = min(bad)
        raise UserError(
            f"{len(bad)} of {len(images)} images cannot be read, the first is {images[first]} ({bad[first]}); "
            f"fix or remove them, or pass --skip_bad to leave them out"
        )
