"""The suffixes of images: Pillow's own decoders, DICOM, and HEIF if its package is installed."""

from functools import cache
from importlib.util import find_spec

# Not here, though Pillow registers them: EPS and WMF (need other programs), BUFR, GRIB, HDF5 and MPEG (identified, not
# decoded), PDF and PALM (written only), IPTC (metadata)
PILLOW = {
    "JPEG": ".jpg .jpeg .jpe .jfif .mpo", "PNG": ".png .apng", "TIFF": ".tif .tiff", "BMP": ".bmp", "GIF": ".gif", "WEBP": ".webp",
    "PPM": ".ppm .pgm .pbm .pnm .pfm", "AVIF": ".avif .avifs", "JPEG2000": ".jp2 .j2k .jpc .jpf .jpx .j2c",
    "BLP": ".blp", "CUR": ".cur", "DCX": ".dcx", "DDS": ".dds", "DIB": ".dib", "FITS": ".fit .fits", "FLI": ".fli .flc",
    "FTEX": ".ftc .ftu", "GBR": ".gbr", "ICNS": ".icns", "ICO": ".ico", "IM": ".im", "MSP": ".msp", "PCD": ".pcd", "PCX": ".pcx",
    "PIXAR": ".pxr", "PSD": ".psd", "QOI": ".qoi", "SGI": ".bw .rgb .rgba .sgi", "SUN": ".ras", "TGA": ".tga .icb .vda .vst",
    "XBM": ".xbm", "XPM": ".xpm",
}  # fmt: skip
DICOM, HEIF = (".dcm", ".dicom"), (".heic", ".heif", ".hif")
HEIF_PACKAGE = "pillow-heif"
FORMAT_OF = {suffix: name for name, suffixes in PILLOW.items() for suffix in suffixes.split()}


@cache
def image_suffixes() -> frozenset[str]:
    """All suffixes that are read, in lower case."""
    heif = HEIF if find_spec(HEIF_PACKAGE.replace("-", "_")) else ()
    return frozenset((*FORMAT_OF, *DICOM, *heif))


def suffix_of(name: str) -> str:
    """`.jpg` of `a.b.JPG`; empty without one."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > 0 else ""
