"""Read DICOM files."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .stored_values import to_uint8

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from pydicom.dataset import FileDataset


def read_dicom(path: str, value_range: tuple[float, float] | None = None) -> "Image.Image":
    """The single grey or RGB frame of a file as an 8-bit image, white where tissue is dense.

    `value_range` applies to files of more than 8 bits; without it, the range that can be stored is scaled to 0..255.

    Raises:
        ValueError: not a readable file with one such frame.
    """
    import numpy as np
    from PIL import Image

    file, stored = _read(path)
    if value_range and file.BitsStored > 8:
        pixels = to_uint8(_rescale(file, stored), value_range)
    else:
        lowest = -(2 ** (file.BitsStored - 1)) if file.PixelRepresentation else 0
        scaled = (stored.astype(np.float32) - lowest) * (255 / (2**file.BitsStored - 1))
        pixels = scaled.round().clip(0, 255).astype(np.uint8)
    # in MONOCHROME1 the lowest value is white
    return Image.fromarray(255 - pixels if file.PhotometricInterpretation == "MONOCHROME1" else pixels)


def dicom_bits(path: str) -> int:
    """Bits per value. Raises: ValueError: not a DICOM file."""
    with _dicom_errors():
        from pydicom import dcmread

        return dcmread(path, stop_before_pixels=True).BitsStored


def dicom_values(path: str) -> "np.ndarray":
    """The values in the units of the file, such as Hounsfield units. Raises: ValueError: see `read_dicom`."""
    return _rescale(*_read(path))


def _read(path: str) -> "tuple[FileDataset, np.ndarray]":
    with _dicom_errors():
        from pydicom import dcmread

        file = dcmread(path)
        stored = file.pixel_array
        _ = file.BitsStored, file.PixelRepresentation, file.PhotometricInterpretation
    if stored.ndim != 2 and stored.shape[2:] != (3,):
        raise ValueError(f"pixels of shape {stored.shape}: expected one grey or RGB frame")
    return file, stored


def _rescale(file: "FileDataset", stored: "np.ndarray") -> "np.ndarray":
    """(H, W) float32"""
    import numpy as np

    slope, intercept = (file.get(name, default) for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0)))
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


@contextmanager
def _dicom_errors() -> Iterator[None]:
    """Turn pydicom's errors for broken files into `ValueError`."""
    from pydicom.errors import InvalidDicomError

    try:
        yield
    except (InvalidDicomError, AttributeError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
