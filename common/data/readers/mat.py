"""Read datasets whose labels are MATLAB lists beside folders of images."""

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...spec import PARTS, Classes, Samples
from .files import check_labels, folder_with, listed_samples, locate
from .folders import part_folders


def flowers_mat(root: Path, classes: Classes) -> Samples:
    """Oxford Flowers: `jpg/image_NNNNN.jpg`, `imagelabels.mat` (1..102), `setid.mat` (trnid, valid, tstid; 1-based)."""
    files = ("imagelabels.mat", "setid.mat")
    base = folder_with(root, files, "flowers-102/{jpg/,imagelabels.mat,setid.mat}")
    (all_labels,) = _load(base / files[0], "labels")
    sets = zip(_load(base / files[1], "trnid", "valid", "tstid"), PARTS, strict=True)
    rows = sorted((int(i), part) for ids, part in sets for i in ids)
    if rows and rows[-1][0] > len(all_labels):
        raise UserError(f"setid.mat in {base} names image {rows[-1][0]}, imagelabels.mat ends at {len(all_labels)}")
    names = [f"jpg/image_{i:05d}.jpg" for i, _ in rows]
    return _samples(base, names, [int(all_labels[i - 1]) - 1 for i, _ in rows], classes, [part for _, part in rows])


def dogs_mat(root: Path, classes: Classes) -> Samples:
    """Stanford Dogs: `{train,test}_list.mat` (`file_list`: "<class>/<file>"), images below `Images/`.

    The class is the file's folder: `n02085620-Chihuahua`. Sorted, they have the order of the lists'
    `labels` (1..120), which are not read; neither are `annotation_list` and file_list.mat.
    """
    files = ("train_list.mat", "test_list.mat")
    base = folder_with(root, files, "Images/ (images.tar) beside train_list.mat and test_list.mat (lists.tar)")
    lists = [[str(name) for name in _load(base / file, "file_list")[0]] for file in files]
    breeds = tuple(sorted({name.split("/")[0] for names in lists for name in names}))
    return _samples(
        base,
        [f"Images/{name}" for names in lists for name in names],
        [breeds.index(name.split("/")[0]) for names in lists for name in names],
        breeds,
        ["train"] * len(lists[0]) + ["test"] * len(lists[1]),
    )


def cars_mat(root: Path, classes: Classes) -> Samples:
    """Stanford Cars: `cars_{train,test}/`, `devkit/`, `cars_test_annos_withlabels.mat`; or `{train,test}/<class>/`.

    The test labels are beside the devkit or in it; its `cars_test_annos.mat` has none. The fields `fname` and `class`
    (1..196) of `annotations` are read, not the box.
    """
    meta = "devkit/cars_meta.mat"
    base = locate(root, lambda folder: (folder / meta).is_file())
    if base is None:
        try:
            return part_folders(train="train", test="test")(root, classes)
        except UserError as error:
            raise UserError(f"no {meta} in {root}, and {error}") from None
    labelled = "cars_test_annos_withlabels.mat"
    tests = next((path for path in (base / labelled, base / "devkit" / labelled) if path.is_file()), None)
    if tests is None:
        raise UserError(f"no {labelled} in {base}: the devkit's list of test images has no classes")
    names, labels, parts = [], [], []
    for part, path in (("train", base / "devkit" / "cars_train_annos.mat"), ("test", tests)):
        (rows,) = _load(path, "annotations")
        if not {"fname", "class"} <= set(rows.dtype.names or ()):
            raise UserError(f"{path} has no fields fname and class: fetch it again")
        names += [f"cars_{part}/{name}" for name in rows["fname"]]
        labels += [int(label) - 1 for label in rows["class"]]
        parts += [part] * len(rows)
    return _samples(base, names, labels, tuple(map(str, _load(base / meta, "class_names")[0])), parts)


def _load(path: Path, *keys: str) -> list[Any]:
    """Read arrays of a .mat file, with one dimension or more.

    Raises:
        UserError: the file is missing, broken or lacks one of `keys`.
    """
    import numpy as np
    from scipy.io import loadmat

    try:
        # in a process of its own: some broken files crash SciPy
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            content = pool.submit(loadmat, path, squeeze_me=True).result()
        return [np.atleast_1d(content[key]) for key in keys]
    except Exception as error:  # a broken file can raise anything
        raise UserError(f"cannot read {path.name} in {path.parent} ({error}): fetch it again") from None


def _samples(base: Path, names: list[str], labels: list[int], classes: Classes, parts: list[str]) -> Samples:
    check_labels(labels, classes, base)
    return listed_samples(base, names, labels, classes, parts)
