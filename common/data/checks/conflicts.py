"""Find images with the same pixels under several labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .duplicates import exact

if TYPE_CHECKING:
    import numpy as np

N_ROWS = 4  # of pixels, that images are first compared by


def find_conflicts(pixels: "np.ndarray", labels: Sequence[int], indices: Sequence[int]) -> list[list[int]]:
    """Sets of `indices` whose images in `pixels` (N, h, w, 3) are equal and whose `labels` (N,) are not."""

    def differ(members: Sequence[int]) -> bool:
        return len({labels[i] for i in members}) > 1

    height = pixels.shape[1]
    rows = [(2 * row + 1) * height // (2 * N_ROWS) for row in range(N_ROWS)]
    sets: list[list[int]] = []
    for positions in exact([hash(pixels[i][rows].tobytes()) for i in indices]):
        similar = [indices[j] for j in positions]
        if differ(similar):
            sets += [[similar[j] for j in equal] for equal in exact([pixels[i].tobytes() for i in similar])]
    return list(filter(differ, sets))


def format_conflicts(conflicts: Sequence[Sequence[int]], names: Sequence[str], dropped: bool) -> str:
    first = " and ".join(names[i] for i in conflicts[0][:2])
    n = sum(map(len, conflicts))
    pictures = f"{len(conflicts):,} {'picture is' if len(conflicts) == 1 else 'pictures are'}"
    remedy = f"their {n:,} images are left out" if dropped else f"--drop_conflicts leaves their {n:,} images out"
    return f"{pictures} under several labels, such as {first}: {remedy}"
