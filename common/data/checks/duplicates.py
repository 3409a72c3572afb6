"""Find exact and near duplicates.

Near duplicates: the perceptual hashes differ in few of their 64 bits, and the thumbnails correlate. More than 97 % of real
photographs are found if halved in size, saved at JPEG quality 30, turned grey, or changed in brightness or contrast by 30 %
(80 % of 64-pixel satellite tiles at quality 30), half if cropped by 4 %, none if mirrored or rotated. Of the 364 million
pairs in EuroSAT two are false positives. imagehash has the same hash but no search for pairs; imagededup has both and
needs torch.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE = 32  # pixels of a thumbnail
BITS = 8  # near duplicates differ in at most this many of the 64 bits
CORRELATION = 0.95  # minimum, of the thumbnails of near duplicates
CONTRAST = (
    2.0  # minimum standard deviation of a thumbnail's grey values: below, too little texture to compare
)
PAIRS = 1 << 22  # compared at once; bounds the memory


def thumbnail(image: "Image.Image") -> "np.ndarray":
    """(SIDE, SIDE) uint8, grey; the aspect ratio is not preserved."""
    import numpy as np
    from PIL import Image

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def phash(thumbnail: "np.ndarray") -> int:
    """64 bits: which of the 8 x 8 lowest frequencies are above their median."""
    import numpy as np
    from scipy.fft import dctn

    low = dctn(thumbnail.astype(np.float32))[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def exact(keys: Sequence[Hashable]) -> list[list[int]]:
    """The positions of every key that occurs more than once."""
    positions_of: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        positions_of[key].append(i)
    return [positions for positions in positions_of.values() if len(positions) > 1]


def near(thumbnails: "np.ndarray") -> list[list[int]]:
    """Connected components of near pairs among (N, SIDE, SIDE) uint8 thumbnails."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    textured = np.flatnonzero([image.std() > CONTRAST for image in thumbnails])
    if len(textured) < 2:
        return []
    hashes = np.array([phash(thumbnails[i]) for i in textured], np.uint64)
    one, two = _pairs(hashes)
    similar = _correlation(thumbnails[textured[one]], thumbnails[textured[two]]) > CORRELATION
    graph = coo_array((similar[similar], (one[similar], two[similar])), (len(textured), len(textured)))
    _, component = connected_components(graph, directed=False)
    return [[int(textured[i]) for i in positions] for positions in exact(component.tolist())]


def _pairs(hashes: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """All pairs of positions whose hashes differ in at most `BITS` bits."""
    import numpy as np

    rows = max(1, PAIRS // len(hashes))
    found = []
    for start in range(0, len(hashes), rows):
        differ = np.bitwise_count(hashes[start : start + rows, None] ^ hashes[None, start:])
        one, two = np.nonzero(differ <= BITS)
        later = two > one
        found.append((one[later] + start, two[later] + start))
    return tuple(np.concatenate(side) for side in zip(*found, strict=True))


def _correlation(one: "np.ndarray", two: "np.ndarray") -> "np.ndarray":
    import numpy as np

    def standard(thumbnails: np.ndarray) -> np.ndarray:
        flat = thumbnails.reshape(-1, SIDE * SIDE).astype(np.float32)
        flat -= flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    return (standard(one) * standard(two)).sum(1)
