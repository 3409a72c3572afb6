"""Find the copies among images, exact and near ones, cached by content."""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tqdm import tqdm

from ...files.disk_cache import cached
from ...spec import Preprocess
from ..checks import duplicates
from ..images.cache import content_hash
from ..images.decode import fit
from ..images.open import open_image

if TYPE_CHECKING:
    import numpy as np

FORMAT = 1  # of the cached sets: increase it to invalidate older ones
SIDE = 2 * duplicates.SIDE  # pixels at which images are compared
LARGEST_SET = 0.05  # of the images: more near copies of one image are similar scenes
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

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stats = pool.map(lambda i: _digest_and_thumbnail(images[i], preprocess), range(len(images)))
        read = list(tqdm(stats, "copies", len(images), unit="img", leave=False, disable=None))
    readable = [i for i, one in enumerate(read) if one]
    sets = {digest: [] for digest, _ in filter(None, read)}
    for i in readable:
        sets[read[i][0]].append(i)
    firsts = [members[0] for members in sets.values() if read[members[0]][1] is not None]
    joined = {i: members for members in sets.values() for i in members[:1]}
    near = duplicates.near(np.stack([read[i][1] for i in firsts])) if firsts else []
    for found in near:
        members = [firsts[j] for j in found]
        if len(members) <= max(SMALL_SET, LARGEST_SET * len(readable)):
            joined[members[0]] = sorted(position for i in members for position in joined.pop(i))
    return sorted(members for members in joined.values() if len(members) > 1)


def _digest_and_thumbnail(source: "str | np.ndarray", preprocess: Preprocess) -> "tuple[str, np.ndarray | None] | None":
    """The SHA-256 of the reduced pixels, and a grey thumbnail; none of an image smaller than that."""
    import numpy as np

    try:
        image = open_image(source, preprocess)
        width, height = image.size
        pixels = fit(image, (SIDE, SIDE), preprocess)
    except Exception:  # decoding for the run reports it
        return None
    digest = hashlib.sha256(f"{sorted((width, height))}".encode() + pixels.tobytes()).hexdigest()
    if min(width, height) < duplicates.SIDE:
        return digest, None
    grey = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    thumbnail = grey.reshape(duplicates.SIDE, 2, duplicates.SIDE, 2).mean((1, 3))
    return digest, thumbnail.round().astype(np.uint8)
