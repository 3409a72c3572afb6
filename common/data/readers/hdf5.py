"""Read Galaxy10's HDF5 file: 3.5 GB of images, one at a time."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import UserError
from ...spec import Classes, Samples
from .files import check_labels, folder_with

if TYPE_CHECKING:
    import numpy as np

FILE = "Galaxy10_DECals.h5"


class StoredImages:
    """The (N, H, W, 3) uint8 images of an HDF5 file, each read on access, from any thread."""

    def __init__(self, path: Path, key: str):
        import h5py

        self.path = str(path)
        self._images = h5py.File(path, "r")[key]  # h5py serializes access to the file
        self.shape = self._images.shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, i: int) -> "np.ndarray":
        return self._images[i]


def galaxy10_hdf5(root: Path, classes: Classes) -> Samples:
    """Galaxy10 DECaLS: `images` (N, 256, 256, 3) uint8, `ans` 0..9, `ra` and `dec` in degrees.

    Images of the same position, to a millionth of a degree, show the same galaxy and form a group. `redshift` and
    `pxscale` (arc seconds per pixel) are not read.
    """
    import h5py

    path = folder_with(root, (FILE,), FILE) / FILE
    try:
        with h5py.File(path, "r") as file:
            labels, ra, dec = (file[key][:].tolist() for key in ("ans", "ra", "dec"))
        images = StoredImages(path, "images")
    except (OSError, KeyError) as error:
        raise UserError(f"cannot read {path} ({error}): expected images, ans, ra and dec; fetch it again") from None
    if images.shape[3:] != (3,) or not len(images) == len(labels) == len(ra) == len(dec):
        raise UserError(f"images {images.shape} and {len(labels)} labels in {path}: expected (N, H, W, 3) and N")
    check_labels(labels, classes, path)
    return Samples(
        images=images,
        names=[f"images/{i:05d}" for i in range(len(labels))],
        labels=labels,
        classes=classes,
        groups=[f"{a:.6f} {d:.6f}" for a, d in zip(ra, dec, strict=True)],
    )
