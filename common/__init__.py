"""What the scripts at the top need. Importing it is cheap: torch is loaded when a run starts."""

from .cli import friendly, main
from .data.export import split_folders
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
    part_folders,
    rsna_csv,
    sklearn_digits,
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
    "friendly",
    "galaxy10_hdf5",
    "leaf_folders",
    "main",
    "part_folders",
    "rsna_csv",
    "sklearn_digits",
    "split_folders",
    "tiny_imagenet",
]
