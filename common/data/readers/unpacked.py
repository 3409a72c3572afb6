"""Unpack an archive given as `--data_dir`, and describe other data files and how to convert them to folders."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from ...errors import UserError, disk_errors
from ...files.atomic import atomic_write, exclusive
from ...files.disk_cache import CACHE_VARIABLE, cache_dir
from ..download.unpack import SUFFIXES, unpack
from .suffixes import suffix_of

# Data files that are not read, and how to convert them to class folders
KINDS = {
    ".parquet": 'a Parquet table: datasets.load_dataset("parquet", data_files=FILE) reads it; save every image as <label>/<number>.png',
    ".arrow": 'an Arrow table: datasets.load_from_disk(FOLDER) reads it; save every image as <label>/<number>.png',
    ".npz": "a NumPy archive: numpy.load(FILE) reads it; save every image with PIL.Image.fromarray as <label>/<number>.png",
    ".npy": "a NumPy array: numpy.load(FILE) reads it; save every image with PIL.Image.fromarray as <label>/<number>.png",
    ".tfrecord": "a TensorFlow record: tf.data.TFRecordDataset(FILE) reads it; save every image as <label>/<number>.png",
    ".h5": "an HDF5 file: h5py.File(FILE) reads it; save every image with PIL.Image.fromarray as <label>/<number>.png",
}  # fmt: skip
KINDS[".hdf5"] = KINDS[".h5"]
SHARD = "a WebDataset shard: each image has its label in a .cls file beside it; sort the unpacked images into <label>/"
OTHER_ARCHIVES = (".rar", ".7z", ".tar.bz2", ".tar.xz", ".gz")


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIXES) and path.is_file()


def data_folder(path: Path) -> Path:
    """`path`, or the folder in the cache that an archive at `path` is unpacked to, once.

    Raises:
        UserError: it is another kind of file, or the archive is broken or unsafe.
    """
    if not path.is_file():
        return path
    if not is_archive(path):
        kind = describe_file(path.name) or "not a folder"
        raise UserError(f"{path} is {kind}")
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}".encode("utf-8", "surrogateescape"))
    folder = cache_dir() / "archives" / f"{path.name.split('.')[0]}-{key.hexdigest()[:16]}"
    if folder.is_dir():
        return folder
    with disk_errors(cache_dir(), CACHE_VARIABLE), exclusive(folder, "unpacking into"):
        if not folder.is_dir():
            with atomic_write(folder, CACHE_VARIABLE) as temporary:
                temporary.mkdir()
                unpack(path, temporary, CACHE_VARIABLE)
    return folder


def describe_file(name: str) -> str:
    """A data file that is not read, and how to convert it to class folders; empty for all others."""
    lower = name.lower()
    if suffix := next((s for s in OTHER_ARCHIVES if lower.endswith(s)), ""):
        return f"an archive that is not read ({suffix}): unpack it, or pack it as .zip or .tar"
    return KINDS.get(suffix_of(lower), "")


def data_files(others: Iterable[str], beside_images: bool) -> str:
    """The first known data file in a folder without class folders; empty if there is none. Beside images only labels count."""
    for name in others:
        lower = name.lower()
        if lower.endswith(".cls"):
            return f"{name} belongs to {SHARD}"
        if beside_images:
            continue
        if lower.endswith(SUFFIXES):
            return f"{name} is an archive: pass it as --data_dir to read it"
        if kind := describe_file(lower):
            return f"{name} is {kind}"
    return ""
