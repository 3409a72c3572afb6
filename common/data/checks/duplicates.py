"""Find exact and near duplicates.

Near duplicates: the perceptual hashes differ in few of their 64 bits, and the thumbnails correlate. More than 97 % of real
photographs are found if halved in size, saved at JPEG quality 30, turned grey, or changed in brightness or contrast by 30 %
(80 % of 64-pixel satellite tiles at quality 30), half if cropped by 4 %, none if mirrored or rotated. Of the 364 million
pairs in EuroSAT two are false positives. imagehash has the same hash but no search for pairs; imagededup has both and
needs torch.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

SIDE = 32  # pixels of a thumbnail
BITS = 8  # near duplicates differ in at most this many of the 64 bits
CORRELATION = 0.95  # minimum, of the thumbnails of near duplicates
CONTRAST = 2.0  # minimum standard deviation of a thumbnail's grey values: below, too little texture to compare
EQUAL_BANDS = 3  # of the hash, that near duplicates share; see `_pairs`
CHUNK = 4096  # images or pairs at once; bounds the memory


def thumbnail(image: "Image.Image") -> "np.ndarray":
    """(SIDE, SIDE) uint8, grey; the aspect ratio is not preserved."""
    import numpy as np
    from PIL import Image

    return np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))


def phash(thumbnails: "np.ndarray") -> "np.ndarray":
    """(N, SIDE, SIDE) uint8 -> (N,) uint64: which of the 8 x 8 lowest frequencies are above their median."""
    import numpy as np
    from scipy.fft import dctn

    hashes = [np.empty(0, np.uint64)]
    for start in range(0, len(thumbnails), CHUNK):
        block = thumbnails[start : start + CHUNK].astype(np.float32)
        low = dctn(block, axes=(1, 2))[:, :8, :8].reshape(-1, 64)
        bits = low > np.median(low, axis=1, keepdims=True)
        hashes.append(np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64))
    return np.concatenate(hashes)


def exact(keys: Sequence[Hashable]) -> list[list[int]]:
    """The positions of every key that occurs more than once."""
    positions_of: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        positions_of[key].append(i)
    return [positions for positions in positions_of.values() if len(positions) > 1]


def near(thumbnails: "np.ndarray") -> list[list[int]]:
    """Connected components of near pairs among (N, SIDE, SIDE) uint8 thumbnails."""
    import numpy as np

    blocks = (thumbnails[start : start + CHUNK] for start in range(0, len(thumbnails), CHUNK))
    textured = np.flatnonzero([std > CONTRAST for block in blocks for std in block.std((1, 2))])
    if not len(textured):
        return []
    component = np.arange(len(textured))
    for one, two in _pairs(phash(thumbnails)[textured], component):
        similar = _correlation(thumbnails[textured[one]], thumbnails[textured[two]]) > CORRELATION
        if similar.any():
            _connect(component, one[similar], two[similar])
    return [[int(textured[i]) for i in positions] for positions in exact(component.tolist())]


def _connect(component: "np.ndarray", one: "np.ndarray", two: "np.ndarray") -> None:
    """Merge the components (N,) of the two images of each pair, in place; the cost is that of the pairs and one pass."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    merged, ends = np.unique(component[np.stack((one, two))], return_inverse=True)
    n = len(merged)
    graph = coo_array((np.ones(len(one)), ends.reshape(2, -1)), (n, n))
    _, first, joined = np.unique(connected_components(graph, directed=False)[1], return_index=True, return_inverse=True)
    renamed = np.arange(len(component))
    renamed[merged] = merged[first[joined]]
    component[:] = renamed[component]


def _pairs(hashes: "np.ndarray", component: "np.ndarray") -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """Batches of pairs of positions whose hashes differ in at most `BITS` bits, without comparing all pairs.

    Of `BITS + EQUAL_BANDS` bands at least `EQUAL_BANDS` are equal (Manku et al. 2007, "Detecting near-duplicates for web
    crawling"), so only hashes that share such a choice of bands are compared. Pairs of equal `component` (N,), which the
    caller updates between batches, are left out: a thousand images of one scene have half a million pairs.
    """
    import numpy as np

    masks = np.array(list(_masks()), np.uint64)
    for k, mask in enumerate(masks):
        order = np.argsort(hashes & mask, kind="stable")
        key, ordered = (hashes & mask)[order], hashes[order]
        first = np.flatnonzero(_several_components(key, component[order]))
        batch: list[tuple[np.ndarray, np.ndarray]] = []
        for distance in range(1, len(order)):  # between two hashes in a bucket
            first = first[first + distance < len(order)]
            first = first[key[first] == key[first + distance]]
            if not len(first):
                break
            differing = ordered[first] ^ ordered[first + distance]
            new = component[order[first]] != component[order[first + distance]]
            new &= np.bitwise_count(differing) <= BITS
            new[new] = ((differing[new, None] & masks[:k]) != 0).all(1)  # no earlier mask has the pair
            batch.append((order[first[new]], order[first[new] + distance]))
            if sum(len(one) for one, _ in batch) >= CHUNK:
                yield from _chunks(batch)
                batch = []
                first = first[_several_components(key, component[order])[first]]
        yield from _chunks(batch)


def _several_components(key: "np.ndarray", component: "np.ndarray") -> "np.ndarray":
    """(N,) bool: whether the images with the same key as this one are of several components; `key` (N,) is sorted."""
    import numpy as np

    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]])
    several = np.minimum.reduceat(component, starts) != np.maximum.reduceat(component, starts)
    return np.repeat(several, np.diff(np.r_[starts, len(key)]))


def _chunks(batch: "Sequence[tuple[np.ndarray, np.ndarray]]") -> "Iterator[tuple[np.ndarray, np.ndarray]]":
    """The pairs of a batch, at most `CHUNK` at once."""
    import numpy as np

    if batch:
        one, two = (np.concatenate(side) for side in zip(*batch, strict=True))
        for start in range(0, len(one), CHUNK):
            yield one[start : start + CHUNK], two[start : start + CHUNK]


def _masks() -> Iterator[int]:
    """The bits of every choice of `EQUAL_BANDS` bands."""
    n_bands = BITS + EQUAL_BANDS
    bands = [sum(1 << bit for bit in range(64) if bit % n_bands == band) for band in range(n_bands)]
    for chosen in combinations(bands, EQUAL_BANDS):
        yield sum(chosen)


def _correlation(one: "np.ndarray", two: "np.ndarray") -> "np.ndarray":
    import numpy as np

    def standard(thumbnails: np.ndarray) -> np.ndarray:
        flat = thumbnails.reshape(-1, SIDE * SIDE).astype(np.float32)
        flat -= flat.mean(1, keepdims=True)
        return flat / np.linalg.norm(flat, axis=1, keepdims=True)

    return (standard(one) * standard(two)).sum(1)
