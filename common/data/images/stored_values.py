"""The stored values of images with more than 8 bits per channel, or more than three channels."""

import re
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

BITS_PER_SAMPLE, ORIENTATION, SAMPLES_PER_PIXEL = 258, 274, 277  # TIFF tags; EXIF has the second, too
FULL_16_BITS = (0.0, 65535.0)  # scaled by 1/257


class BandError(ValueError):
    """The three bands to use are not selected, or do not exist."""


def to_uint8(values: "np.ndarray", value_range: tuple[float, float] | None) -> "np.ndarray":
    """LOW..HIGH -> 0..255, clipped; NaN -> 0. Values of 8 bits are returned unchanged.

    Raises:
        ValueError: float values without a range. Integers are scaled by the full 16 bits.
    """
    import numpy as np

    if values.dtype == np.uint8:
        return values
    if value_range is None and values.dtype.kind == "f":
        raise ValueError("float values without a value range; --value_range LOW HIGH sets it")
    low, high = value_range or FULL_16_BITS
    return np.nan_to_num((values - low) / ((high - low) / 255)).clip(0, 255).astype(np.uint8)


def select_bands(values: "np.ndarray", bands: tuple[int, int, int] | None) -> "np.ndarray":
    """(H, W) or (H, W, channels) -> (H, W) or (H, W, 3); `bands` are counted from 1.

    Raises:
        BandError: more than three channels and no `bands`, or fewer channels than a band's number.
    """
    channels = values.shape[2] if values.ndim == 3 else 1
    if bands is None:
        if channels not in (1, 3):
            raise BandError(f"{channels} bands: select three with --bands R G B, such as --bands 3 2 1")
        return values.reshape(values.shape[:2]) if channels == 1 else values
    if max(bands) > channels:
        raise BandError(f"band {max(bands)} of {channels}: expected --bands of 1 to {channels}")
    return values.reshape(*values.shape[:2], channels)[..., [band - 1 for band in bands]]


def is_high_depth(image: "Image.Image") -> bool:
    """Whether an image, not decoded yet, has more than 8 bits per channel or more channels than Pillow decodes."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return True
    if image.format == "TIFF":
        bits, samples = (image.tag_v2.get(tag, 1) for tag in (BITS_PER_SAMPLE, SAMPLES_PER_PIXEL))
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8 or samples > len(image.getbands())
    return image.format == "PNG" and ";16" in str(_rawmode(image))


def stored_values(path: str, image: "Image.Image | None") -> "np.ndarray":
    """(H, W) or (H, W, channels) as stored, not turned upright; `image`: from Pillow, None if it cannot open the file.

    Raises:
        ValueError: a compression that needs another package.
    """
    import numpy as np

    if image and image.format == "TIFF" and image.tag_v2.get(ORIENTATION, 1) != 1:
        return _read_tiff(path)  # Pillow corrupts 16-bit values when it rotates them
    if image and len(image.getbands()) == 1:
        return np.asarray(image)
    rawmode = image and re.fullmatch(r"(RGBA?|LA);16([BLN])", str(_rawmode(image)))
    return _decode_16_bits(image, *rawmode.groups()) if rawmode else _read_tiff(path)


def _rawmode(image: "Image.Image") -> str | None:
    """Pillow's name of the pixel format in the file; None if the channels are stored one after another."""
    args = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile}
    return args.pop() if len(args) == 1 else None


def _decode_16_bits(image: "Image.Image", channels: str, order: str) -> "np.ndarray":
    """(H, W, 3 or 4) uint16 of a PNG or TIFF, decoded once per byte: Pillow keeps only the high bytes."""
    import numpy as np
    from PIL import Image

    def decode(rawmode: str) -> np.ndarray:
        with Image.open(image.filename, formats=(image.format,)) as file:
            file.tile = [
                tile._replace(args=rawmode if isinstance(tile.args, str) else (rawmode, *tile.args[1:]))
                for tile in file.tile
            ]
            return np.asarray(file).astype(np.uint16)

    if channels == "LA":  # as four bytes: two of grey, two of alpha
        grey_high, grey_low, alpha_high, alpha_low = np.moveaxis(decode("RGBA"), 2, 0)
        grey, alpha = 256 * grey_high + grey_low, 256 * alpha_high + alpha_low
        return np.stack((grey, grey, grey, alpha), 2)
    first, second = decode(f"{channels};16B"), decode(f"{channels};16L")  # the first byte, the second byte
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    return 256 * first + second if big else 256 * second + first


def _read_tiff(path: str) -> "np.ndarray":
    """(H, W) or (H, W, channels): the first page."""
    import numpy as np
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            values = page.asarray()
    except (tifffile.TiffFileError, KeyError, IndexError) as error:
        reason = str(error)
        if "imagecodecs" in reason:
            reason = f"its compression needs another package: pip install imagecodecs; {error.args[0]}"
        raise ValueError(reason) from None
    return np.moveaxis(values, 0, 2) if page.axes == "SYX" else values
