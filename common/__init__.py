"""What the scripts at the top need. Importing it is cheap: torch is loaded when a run starts."""

from .cli import friendly, main
from .data.export import split_folders
from .data.sources import cifar_batches, class_folders, flowers_mat, sklearn_digits
from .spec import Augment, Dataset, Holdout, Official, Samples

__all__ = [
    "Augment",
    "Dataset",
    "Holdout",
    "Official",
    "Samples",
    "cifar_batches",
    "class_folders",
    "flowers_mat",
    "friendly",
    "main",
    "sklearn_digits",
    "split_folders",
]
