"""From a DICOM file to an 8-bit image."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def read_dicom(path: str) -> "Image.Image":
    """The single grey or RGB frame of a file, its stored range scaled to 0..255, white where tissue is dense.

    Raises:
        ValueError: not such a file.
    """
    import numpy as np
    from PIL import Image
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        file = dcmread(path)
        stored, bits = file.pixel_array, file.BitsStored
        signed, photometric = file.PixelRepresentation, file.PhotometricInterpretation
    except (InvalidDicomError, AttributeError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if stored.ndim != 2 and stored.shape[2:] != (3,):
        raise ValueError(f"pixels of shape {stored.shape}: expected one grey or RGB frame")
    lowest = -(2 ** (bits - 1)) if signed else 0
    pixels = (stored.astype(np.float32) - lowest) * (255 / (2**bits - 1))
    if photometric == "MONOCHROME1":  # the lowest value is white
        pixels = 255 - pixels
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
