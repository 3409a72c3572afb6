"""Which pictures are the same, and which nearly so.

Nearly: the perceptual hashes differ in few of their 64 bits, and the thumbnails correlate. Of real photographs halved in
size, saved at JPEG quality 30, turned grey or changed in brightness or contrast by 30 %, more than 97 % are found (of
64-pixel satellite tiles at quality 30, 80 %); of those cropped by 4 % half; mirrored or turned ones are not. Of the 364
million pairs in EuroSAT two are called alike. imagehash has the same hash but no search for pairs; imagededup has both,
and needs torch.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE = 32  # pixels of a thumbnail
BITS = 8  # hashes that differ in more of their 64 bits belong to different pictures
CORRELATION = 0.95  # thumbnails that correlate less do too
CONTRAST = 2.0  # standard deviation in grey values: in a flatter thumbnail there is nothing to compare
PAIRS = 1 << 22  # compared at once, to keep the memory small


def thumbnail(image: "Image.Image") -> "np.ndarray":
    """(SIDE, SIDE) uint8, grey; proportions are not kept."""
    import numpy as np
    from PIL import Image

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def phash(thumbnail: "np.ndarray") -> int:
    """64 bits: which of the 8 x 8 lowest frequencies lie above their median."""
    import numpy as np
    from scipy.fft import dctn

    low = dctn(thumbnail.astype(np.float32))[:8, :8]
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes())


def same(keys: Sequence[Hashable]) -> list[list[int]]:
    """The positions of every key that occurs more than once."""
    places: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        places[key].append(i)
    return [positions for positions in places.values() if len(positions) > 1]


def near(thumbnails: "np.ndarray") -> list[list[int]]:
    """Sets of (N, SIDE, SIDE) uint8 thumbnails that a chain of near pairs holds together."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    kept = np.flatnonzero([picture.std() > CONTRAST for picture in thumbnails])
    if len(kept) < 2:
        return []
    hashes = np.array([phash(thumbnails[i]) for i in kept], np.uint64)
    one, two = _pairs(hashes)
    alike = _correlation(thumbnails[kept[one]], thumbnails[kept[two]]) > CORRELATION
    graph = coo_array((alike[alike], (one[alike], two[alike])), (len(kept), len(kept)))
    _, component = connected_components(graph, directed=False)
    return [[int(kept[i]) for i in positions] for positions in same(component.tolist())]


def _pairs(hashes: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Every pair of positions, each once, whose hashes differ in `BITS` bits at most."""
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
