"""Read the camera and the time of photographs from their EXIF."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import NamedTuple

from ..images.open import open_header

EXIF_IFD, MAKE, MODEL, ORIGINAL, SUBSECONDS = 0x8769, 0x010F, 0x0110, 0x9003, 0x9291
N_FIRST = 32  # files, evenly spaced, of which half must have a time before all are read


class Capture(NamedTuple):
    camera: str
    seconds: float  # since 1970 by the camera's clock, whatever its time zone


def captures(files: Sequence[str]) -> list[Capture | None]:
    """Camera and time of each image; empty if few images have them. An EXIF that cannot be read counts as none."""
    first = files[:: max(1, len(files) // N_FIRST)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if 2 * sum(capture is not None for capture in pool.map(_capture, first)) < len(first):
            return []
        return list(pool.map(_capture, files))


def _capture(path: str) -> Capture | None:
    try:
        with open_header(path) as image:
            exif = image.getexif()
            original = exif.get_ifd(EXIF_IFD)
            camera = f"{exif.get(MAKE, '')} {exif.get(MODEL, '')}".strip(" \0")
            time = datetime.strptime(str(original[ORIGINAL]).strip(" \0"), "%Y:%m:%d %H:%M:%S")
            fraction = str(original.get(SUBSECONDS, "")).strip(" \0")
    except Exception:  # EXIF is broken in every possible way
        return None
    return Capture(
        camera, time.replace(tzinfo=UTC).timestamp() + (float(f"0.{fraction}") if fraction.isdecimal() else 0)
    )
