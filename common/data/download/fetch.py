"""Create a dataset's data folder from its published files, atomically.

data/eurosat-downloads/    published files, verified; `.part`: unfinished. Manually downloaded files go here, too
data/eurosat/              created by one rename after all files are unpacked, so it is complete
data/.eurosat.lock         one process at a time; not deleted, see `files.atomic.exclusive`
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ...errors import UserError, disk_errors
from ...files.atomic import exclusive
from ...spec import Dataset, File
from .download import describe, download, file_size, partial_path
from .unpack import SUFFIXES, unpack


def fetch(dataset: Dataset, folder: Path, offline: bool = False) -> bool:
    """Create `folder` from the dataset's sources; False if it has content already.

    Offline, or without mirrors, the user puts the files into the downloads folder.

    Raises:
        UserError: a file cannot be downloaded (with how to get it) or is not the published one; a full disk.
    """
    folder = folder.resolve()
    if dataset.bundled or is_populated(folder):
        return False
    downloads = folder.with_name(f"{folder.name}-downloads")
    _check_obtainable(dataset, folder, downloads, offline)
    with disk_errors(downloads, "--data_dir"), exclusive(folder, "fetching"):
        if is_populated(folder):  # by another process in the meantime
            return False
        downloads.mkdir(exist_ok=True)
        try:
            _check_space(dataset, downloads)
            for file in dataset.sources:
                download(file, downloads / file.name)
            _assemble(dataset.sources, downloads, folder)
        finally:
            with suppress(OSError):  # not empty: unfinished or manual downloads
                downloads.rmdir()
    return True


def is_populated(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _check_obtainable(dataset: Dataset, folder: Path, downloads: Path, offline: bool) -> None:
    """Check before the first download that every file can be obtained."""
    files = [f for f in dataset.sources if (offline or not f.mirrors) and not (downloads / f.name).exists()]
    if dataset.sources and not files:
        return
    reason = "not there, and --offline forbids downloading it" if offline else "not downloadable automatically"
    steps = dict.fromkeys(f.steps or f"fetch {f.name} from {' or '.join(f.mirrors)}" for f in files)
    manual = f"{'; '.join(steps)}; put {', '.join(map(describe, files))} into {downloads} and run again; or " * bool(
        files
    )
    raise UserError(f"{dataset.title} is {reason}: {manual}{dataset.get}, in {folder}")


def _check_space(dataset: Dataset, downloads: Path) -> None:
    """Check the free space for the missing files and their unpacked content, as large as the archives: images do not compress."""
    total = sum(f.bytes or 0 for f in dataset.sources)
    present = sum(
        file_size(path) + file_size(partial_path(path)) for path in (downloads / f.name for f in dataset.sources)
    )
    need, free = 2 * total - present, shutil.disk_usage(downloads).free
    if free < need:
        raise UserError(
            f"{dataset.title} needs {need:,} bytes in {downloads.parent}, {free:,} are free: free some, or choose another "
            "folder with --data_dir"
        )


def _assemble(files: tuple[File, ...], downloads: Path, folder: Path) -> None:
    """Unpack all files into a new folder, then rename it to `folder`."""
    new = downloads / "unpacked"
    shutil.rmtree(new, ignore_errors=True)  # of a killed process
    try:
        for file in files:
            target = new / file.into
            target.mkdir(parents=True, exist_ok=True)
            if file.name.endswith(SUFFIXES):
                unpack(downloads / file.name, target)
            else:
                _copy(downloads / file.name, target / file.name)
        try:
            if folder.is_dir():
                folder.rmdir()  # empty; not every system renames over it
            os.rename(new, folder)
        except OSError as error:
            raise UserError(
                f"cannot create {folder} ({error.strerror}): move away what is there, or choose another folder with --data_dir"
            ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for file in files:
        if file.mirrors:  # manual downloads stay
            (downloads / file.name).unlink()
            partial_path(downloads / file.name).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
