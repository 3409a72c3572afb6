"""What a data sheet needs. Importing it is cheap: torch is loaded when a run starts."""

from .cli import main
from .data.sources import (
    breakhis_slides,
    cars_mat,
    cifar100_pickles,
    cifar_batches,
    class_folders,
    cub_lists,
    dogs_mat,
    dtd_lists,
    flowers_mat,
    food_json,
    galaxy10_hdf5,
    leaf_folders,
    rsna_csv,
    sklearn_digits,
    split_folders,
    tiny_imagenet,
)
from .spec import Augment, Dataset, File, Holdout, Official, Samples

__all__ = [
    "Augment",
    "Dataset",
    "File",
    "Holdout",
    "Official",
    "Samples",
    "breakhis_slides",
    "cars_mat",
    "cifar100_pickles",
    "cifar_batches",
    "class_folders",
    "cub_lists",
    "dogs_mat",
    "dtd_lists",
    "flowers_mat",
    "food_json",
    "galaxy10_hdf5",
    "leaf_folders",
    "main",
    "rsna_csv",
    "sklearn_digits",
    "split_folders",
    "tiny_imagenet",
]
