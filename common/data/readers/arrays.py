"""Read datasets that are arrays in memory: CIFAR's pickles, scikit-learn's digits."""

from collections.abc import Mapping
from pathlib import Path

from ...errors import UserError
from ...spec import Classes, Samples
from .files import check_labels, folder_with


def cifar_batches(root: Path, classes: Classes) -> Samples:
    """CIFAR-10's Python batches: `data_batch_1..5` and `test_batch`. The data sheet names the classes."""
    base = folder_with(root, ("test_batch",), "cifar-10-batches-py/{data_batch_1..5,test_batch}")
    batches = {name: "train" for i in range(1, 6) if (base / (name := f"data_batch_{i}")).is_file()}
    return _cifar(base, {**batches, "test_batch": "test"}, "labels", classes)


def cifar100_pickles(root: Path, classes: Classes) -> Samples:
    """CIFAR-100's pickles `train` and `test`, fine labels; `meta` names the classes."""
    base = folder_with(root, ("train", "test", "meta"), "cifar-100-python/{train,test,meta}")
    names = _unpickle(base / "meta", "fine_label_names")["fine_label_names"]
    if not isinstance(names, list) or {*map(type, names)} != {str}:
        raise UserError(f"not a CIFAR batch: {base / 'meta'} (no list of names); fetch it again")
    return _cifar(base, {"train": "train", "test": "test"}, "fine_labels", tuple(names))


def sklearn_digits(root: Path, classes: Classes) -> Samples:
    """The 1,797 handwritten digits (8 x 8, grey values 0..16) that scikit-learn ships; no data folder is read."""
    import numpy as np
    from sklearn.datasets import load_digits

    bundle = load_digits()
    grey = np.rint(bundle.images * (255 / 16)).astype(np.uint8)
    return Samples(
        images=np.repeat(grey[..., None], 3, axis=3),
        names=[f"digits/{i:04d}" for i in range(len(grey))],
        labels=[int(label) for label in bundle.target],
        classes=classes,
    )


def _cifar(base: Path, files: Mapping[str, str], key: str, classes: tuple[str, ...]) -> Samples:
    """Read {file: part}: pickles of {data: (n, 3072) uint8 in R, G, B planes, `key`: [n] labels}."""
    import numpy as np

    images, names, labels, parts = [], [], [], []
    for file, part in files.items():
        content = _unpickle(base / file, "data", key)
        data, file_labels = np.asarray(content["data"]), content[key]
        if not isinstance(file_labels, list) or {*map(type, file_labels)} != {int}:
            raise UserError(f"not a CIFAR batch: {base / file} (no list of labels); fetch it again")
        n = len(file_labels)
        if data.dtype != np.uint8 or data.shape != (n, 3072):
            raise UserError(f"not a CIFAR batch: {base / file} (images {data.shape}, {n} labels); fetch it again")
        images.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels += file_labels
        names += [f"{file}/{i:05d}" for i in range(n)]
        parts += [part] * n
    check_labels(labels, classes, base)
    return Samples(images=np.concatenate(images), names=names, labels=labels, classes=classes, parts=parts)


def _unpickle(path: Path, *keys: str) -> dict:
    """Read a dictionary with `keys`, by an unpickler that constructs arrays only and so runs no code of the file.

    Raises:
        UserError: the file is not such a pickle.
    """
    import pickle

    class ArraysOnly(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> object:
            arrays = module.startswith("numpy") and name in {"_reconstruct", "ndarray", "dtype", "_frombuffer"}
            if arrays or (module, name) == ("_codecs", "encode"):
                return super().find_class(module, name)
            raise pickle.UnpicklingError(f"refuses {module}.{name}")

    try:
        with open(path, "rb") as file:
            content = ArraysOnly(file, encoding="latin1").load()
        if missing := [key for key in keys if key not in content]:
            raise ValueError(f"no {missing[0]!r} in it")
        return dict(content)
    except Exception as error:  # a broken pickle can raise anything
        raise UserError(f"not a CIFAR batch: {path} ({str(error) or type(error).__name__}); fetch it again") from None
