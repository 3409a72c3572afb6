"""What a data sheet needs. Importing it is cheap: torch is loaded when a run starts."""

from .cli import main
from .data.sources import cifar_batches, class_folders, flowers_mat, sklearn_digits
from .spec import Augment, Dataset, File, Holdout, Official, Samples

__all__ = [
    "Augment",
    "Dataset",
    "File",
    "Holdout",
    "Official",
    "Samples",
    "cifar_batches",
    "class_folders",
    "flowers_mat",
    "main",
    "sklearn_digits",
]
