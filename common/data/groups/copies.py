"""Find the copies among images, exact and near ones, cached by content."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...files.disk_cache import cached
from ...files.threads import thread_map
from ...spec import Preprocess
from ..checks import duplicates
from ..images.cache import content_hash
from ..images.decode import fit
from ..images.open import open_image

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1  # of the cached sets: increase it to invalidate older ones
SIDE = 2 * duplicates.SIDE  # pixels at which images are compared
LARGEST_SET = 0.05  # of the images; a larger set of near copies counts as similar scenes
SMALL_SET = 20  # images; a smaller set of near copies is never too large


def copy_sets(images: Sequence, preprocess: Preprocess, cache: bool = True) -> list[list[int]]:
    """Positions of images that are copies of each other. Images that cannot be read have none.

    `preprocess`: its value range and bands are used.
    """

    def compute() -> dict[str, list[list[int]]]:
        return {"sets": _find(images, preprocess)}

    if not cache:
        return compute()["sets"]
    key = {"form": FORMAT, "images": content_hash(images, (SIDE, SIDE), preprocess)}
    return cached("copies", key, compute)["sets"]


def _find(images: Sequence, preprocess: Preprocess) -> list[list[int]]:
    """Exact copies, and near ones among the rest."""
    import numpy as np

    thumbnails = np.zeros((len(images), duplicates.SIDE, duplicates.SIDE), np.uint8)
    digests = thread_map(lambda i: _digest(images[i], preprocess, thumbnails[i]), range(len(images)), "copies")
    same: dict[bytes, list[int]] = defaultdict(list)
    for i, digest in enumerate(digests):
        if digest:
            same[digest].append(i)
    n_readable = sum(map(len, same.values()))
    joined = {members[0]: members for members in same.values()}
    thumbnails[[i for members in same.values() for i in members[1:]]] = 0  # copies have no near ones of their own
    for near in duplicates.near(thumbnails):
        if len(near) <= max(SMALL_SET, LARGEST_SET * n_readable):
            joined[near[0]] = sorted(position for i in near for position in joined.pop(i))
    return sorted(members for members in joined.values() if len(members) > 1)


def _digest(source: "str | np.ndarray", preprocess: Preprocess, thumbnail: "np.ndarray") -> bytes | None:
    """The SHA-256 of the reduced pixels; None of an image that cannot be read.

    Writes the grey `thumbnail`, unless the image is smaller.
    """
    import numpy as np

    try:
        image = open_image(source, preprocess)
        width, height = image.size
        pixels = fit(image, (SIDE, SIDE), preprocess)
    except Exception:  # decoding for the run reports it
        return None
    if min(width, height) >= duplicates.SIDE:
        grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
        thumbnail[:] = grey.reshape(duplicates.SIDE, 2, duplicates.SIDE, 2).mean((1, 3)).round()
    return hashlib.sha256(f"{sorted((width, height))}".encode() + pixels.tobytes()).digest()
