"""Readers of data folders, one per layout.

A reader takes the data folder and the data sheet's classes and returns `Samples`: all labelled images, not decoded, with
their official parts and the groups that a split keeps whole. Heavy libraries are imported inside the functions.
"""

from .arrays import cifar100_pickles, cifar_batches, sklearn_digits
from .files import image_files
from .folders import class_folders, part_folders
from .hdf5 import galaxy10_hdf5
from .image_folder import image_folder
from .leaves import leaf_folders
from .lists import cub_lists, dtd_lists, food_json, tiny_imagenet
from .mat import cars_mat, dogs_mat, flowers_mat
from .medical import breakhis_slides, rsna_boxes, rsna_csv
from .parts import parts_as

__all__ = [
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
    "image_files",
    "image_folder",
    "leaf_folders",
    "part_folders",
    "parts_as",
    "rsna_boxes",
    "rsna_csv",
    "sklearn_digits",
    "tiny_imagenet",
]
