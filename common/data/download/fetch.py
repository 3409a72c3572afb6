"""A dataset's published files -> its data folder, which is there at once or not at all.

data/eurosat-downloads/    files as published, checked; `.part`: not whole yet. Files brought by hand go here too
data/eurosat/              made by one rename when all is unpacked: where it is, it is whole
data/.eurosat.lock         one process at a time; the system lets go of it when a process dies, however it dies.
                           It stays: removed, it would let a third process in beside a waiting second
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from ...errors import UserError, disk_errors
from ...files.atomic import exclusive
from ...spec import Dataset, File
from .download import download, facts, part_of, size
from .unpack import SUFFIXES, unpack


def fetch(dataset: Dataset, folder: Path, offline: bool = False) -> bool:
    """Make `folder` from the dataset's sources; False if there is something already.

    Offline, or where there is no mirror, files are taken from the downloads folder, where a person has put them.

    Raises:
        UserError: what cannot be had and how to get it; a file that is not the published one; a full disk.
    """
    folder = folder.resolve()
    if dataset.bundled or filled(folder):
        return False
    store = folder.with_name(f"{folder.name}-downloads")
    _check_obtainable(dataset, folder, store, offline)
    with disk_errors(store, "--data_dir"), exclusive(folder, "fetching"):
        if filled(folder):  # another process has done it meanwhile
            return False
        store.mkdir(exist_ok=True)
        try:
            _check_space(dataset, store)
            for file in dataset.sources:
                download(file, store / file.name)
            _assemble(dataset.sources, store, folder)
        finally:
            with suppress(OSError):  # not empty: it holds what has arrived so far, or what a person brought
                store.rmdir()
    return True


def filled(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def _check_obtainable(dataset: Dataset, folder: Path, store: Path, offline: bool) -> None:
    """Nobody shall wait for a gigabyte to hear that the next file needs a login."""
    files = [f for f in dataset.sources if (offline or not f.mirrors) and not (store / f.name).exists()]
    if dataset.sources and not files:
        return
    why = "not there, and --offline forbids fetching it" if offline else "not downloadable automatically"
    steps = dict.fromkeys(f.steps or f"fetch {f.name} from {' or '.join(f.mirrors)}" for f in files)
    hand = f"{'; '.join(steps)}; put {', '.join(map(facts, files))} into {store} and run again; or " * bool(
        files
    )
    raise UserError(f"{dataset.title} is {why}: {hand}{dataset.get}, in {folder}")


def _check_space(dataset: Dataset, store: Path) -> None:
    """Room for what is missing, and for what it unpacks to: images do not shrink in an archive."""
    total = sum(f.bytes or 0 for f in dataset.sources)
    here = sum(size(path) + size(part_of(path)) for path in (store / f.name for f in dataset.sources))
    need, free = 2 * total - here, shutil.disk_usage(store).free
    if free < need:
        raise UserError(
            f"{dataset.title} needs {need:,} bytes in {store.parent}, {free:,} are free: free some, or name another "
            "place with --data_dir"
        )


def _assemble(files: tuple[File, ...], store: Path, folder: Path) -> None:
    """All files, unpacked, in a new folder that then takes its place in one step."""
    new = store / "unpacked"
    shutil.rmtree(new, ignore_errors=True)  # left by a process that was killed
    try:
        for file in files:
            target = new / file.into
            target.mkdir(parents=True, exist_ok=True)
            if file.name.endswith(SUFFIXES):
                unpack(store / file.name, target)
            else:
                _copy(store / file.name, target / file.name)
        try:
            if folder.is_dir():
                folder.rmdir()  # it is empty; not every system renames over it
            os.rename(new, folder)
        except OSError as error:
            raise UserError(
                f"cannot make {folder} ({error.strerror}): move away what is there, or name another place with --data_dir"
            ) from None
    finally:
        shutil.rmtree(new, ignore_errors=True)
    for file in files:
        if file.mirrors:  # what a person had to bring stays
            (store / file.name).unlink()
            part_of(store / file.name).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
