"""Find images with the same pixels under several labels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .duplicates import exact

if TYPE_CHECKING:
    import numpy as np

N_ROWS = 4  # of pixels, that images are first compared by


def find_conflicts(pixels: "np.ndarray", indices: Sequence[int], labels: Sequence[int]) -> list[list[int]]:
    """Sets of positions in `labels` whose images are equal and whose labels are not.

    Args:
        pixels: (N, h, w, 3) uint8; image i is `pixels[indices[i]]`.
    """
    height = pixels.shape[1]
    rows = [(2 * row + 1) * height // (2 * N_ROWS) for row in range(N_ROWS)]
    sets = []
    for similar in exact([hash(pixels[i][rows].tobytes()) for i in indices]):
        if len({labels[i] for i in similar}) > 1:
            equal = exact([pixels[indices[i]].tobytes() for i in similar])
            sets += [[similar[j] for j in members] for members in equal]
    return [members for members in sets if len({labels[i] for i in members}) > 1]


def format_conflicts(conflicts: Sequence[Sequence[int]], names: Sequence[str], dropped: bool) -> str:
    first = " and ".join(names[i] for i in conflicts[0][:2])
    n = sum(map(len, conflicts))
    pictures = f"{len(conflicts):,} {'picture is' if len(conflicts) == 1 else 'pictures are'}"
    remedy = f"their {n:,} images are left out" if dropped else f"--drop_conflicts leaves their {n:,} images out"
    return f"{pictures} under several labels, such as {first}: {remedy}"
