"""The metadata of image files: format, mode, size, compression, resolution, camera."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..images.open import open_header
from ..readers.suffixes import DICOM, suffix_of

if TYPE_CHECKING:
    from PIL import Image

Metadata = dict[str, str | float]  # {field: value}; empty for a file that cannot be read

MAKE, MODEL = 271, 272  # EXIF tags of the camera
BYTES_PER_PIXEL = "bytes per pixel"  # depends on the content, too


def read_metadata(paths: Sequence[str]) -> list[Metadata]:
    """The metadata of every file, from its header."""
    return [_metadata_of(path) for path in paths]


def _metadata_of(path: str) -> Metadata:
    if suffix_of(path) in DICOM:
        return {"format": "DICOM"}
    try:
        with open_header(path) as image:
            return {
                "format": image.format,
                "mode": image.mode,
                "size": f"{image.width}x{image.height}",
                "width": float(image.width),
                "height": float(image.height),
                BYTES_PER_PIXEL: os.path.getsize(path) / (image.width * image.height),
                "compression": _compression(image),
                "resolution": "x".join(f"{float(value):.0f}" for value in image.info.get("dpi", ())) or "none",
                "camera": _camera(image),
            }
    except Exception:  # decoders fail on broken files in every possible way
        return {}


def _compression(image: "Image.Image") -> str:
    """Of a JPEG the mean step of its luminance quantisation, and whether it is progressive."""
    if tables := getattr(image, "quantization", None):
        table = tables[min(tables)]
        return f"quantisation {sum(table) / len(table):.1f}{' progressive' * ('progressive' in image.info)}"
    return str(image.info.get("compression", "none"))


def _camera(image: "Image.Image") -> str:
    exif = image.getexif()
    names = [str(exif[tag]).strip() for tag in (MAKE, MODEL) if tag in exif]
    return " ".join(names) or ("unnamed" if exif else "none")
