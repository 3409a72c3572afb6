"""Open one image as 8 bits per channel."""

import logging
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING

from ...spec import Preprocess
from ..readers.suffixes import DICOM, FORMAT_OF, HEIF, suffix_of
from .dicom import dicom_bits, dicom_values, read_dicom
from .stored_values import ORIENTATION, is_high_depth, select_bands, stored_values, to_uint8

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# Recognised whatever the suffix. Pillow has forty more formats, slow to import and seldom maintained
FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
PAGED = ("TIFF", "GIF", "WEBP", "PNG")  # may contain several images; the first is used
SEVERAL = "several_frames"  # in the `info` of converted images
TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
TRANSPOSES = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
logging.getLogger("PIL").addHandler(logging.NullHandler())  # it logs what it also raises


def open_image(source: "str | np.ndarray", preprocess: Preprocess | None = None) -> "Image.Image":
    """The image of a path or an (H, W, 3) uint8 array, not yet decoded if it has 8 bits per channel.

    With more bits, `preprocess.value_range` becomes 0..255; `preprocess.bands` replace red, green and blue.

    Raises:
        OSError, ValueError, SyntaxError: it cannot be read.
    """
    import numpy as np
    from PIL import Image

    if not isinstance(source, str):
        return Image.fromarray(source)
    value_range, bands = (preprocess.value_range, preprocess.bands) if preprocess else (None, None)
    if _is_dicom(source):
        return read_dicom(source, value_range)
    image = open_header(source)
    high_depth = image is None or is_high_depth(image)
    if not high_depth and not bands:
        return image
    transparent = image and image.mode == "RGBA" and not bands
    values = stored_values(source, image) if high_depth else np.asarray(rgb(upright(image)))
    pixels = to_uint8(select_bands(values[..., :3] if transparent else values, bands), value_range)
    result = Image.fromarray(pixels)
    if transparent:
        result.putalpha(Image.fromarray(to_uint8(values[..., 3], None)))
    result.info[SEVERAL] = image is not None and has_several_frames(image)
    if image and high_depth:  # its values are not upright yet
        result.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return result


def is_high_depth_file(path: str) -> bool:
    """Whether a file's header has more than 8 bits per channel or more than three channels; False if it cannot be read."""
    try:
        if _is_dicom(path):
            return dicom_bits(path) > 8
        image = open_header(path)
        with image or nullcontext():
            return image is None or is_high_depth(image)
    except Exception:  # decoders fail on broken files in every possible way
        return False


def high_depth_values(path: str, bands: tuple[int, int, int] | None) -> "np.ndarray | None":
    """The values of a file's selected channels; None if they have 8 bits.

    Raises:
        BandError: the bands are not selected, or do not exist.
        OSError, ValueError, SyntaxError: it cannot be read.
    """
    if _is_dicom(path):
        return dicom_values(path)
    image = open_header(path)
    values = stored_values(path, image)
    if image and image.mode == "RGBA" and not bands:
        values = values[..., :3]
    values = select_bands(values, bands)
    return values if values.dtype.itemsize > 1 else None


def has_several_frames(image: "Image.Image") -> bool:
    """Whether the file of an opened image has several frames or pages."""
    return image.info.get(SEVERAL, image.format in PAGED and getattr(image, "is_animated", False))


def upright(image: "Image.Image") -> "Image.Image":
    """Rotated and flipped by its EXIF orientation. `ImageOps.exif_transpose` rewrites the EXIF, and fails on odd tags."""
    from PIL import Image

    if image.format == "TIFF":  # turned by Pillow as it is decoded
        image.load()
    transpose = TRANSPOSES.get(image.getexif().get(ORIENTATION))
    return image.transpose(Image.Transpose[transpose]) if transpose else image


def rgb(image: "Image.Image") -> "Image.Image":
    """To RGB: transparency onto white, 16-bit grey scaled to 8 bits (a plain conversion would clip it to white)."""
    import numpy as np
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(to_uint8(np.asarray(image), None))
    return image if image.mode == "RGB" else image.convert("RGB")


def _is_dicom(path: str) -> bool:
    return suffix_of(path) in DICOM


@cache
def _rare_format(suffix: str) -> tuple[str, ...]:
    """Load and return the format of a suffix that is not in `FORMATS`."""
    if suffix in HEIF:
        import pillow_heif

        pillow_heif.register_heif_opener()
        return ("HEIF",)
    name = FORMAT_OF.get(suffix)
    if name is None or name in FORMATS:
        return ()
    from PIL import Image

    Image.init()
    return (name,)


def open_header(path: str) -> "Image.Image | None":
    """The file opened by Pillow, its pixels not read yet; None for a TIFF that Pillow cannot open."""
    from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 (importing registers the format)

    try:
        return Image.open(path, formats=(*FORMATS, *_rare_format(suffix_of(path))))
    except Image.UnidentifiedImageError:
        with open(path, "rb") as file:
            if file.read(4) in TIFF_STARTS:
                return None
        raise
