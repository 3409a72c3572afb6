"""What the scripts at the top need. Importing it is cheap: torch is loaded when a run starts."""

from .cli import friendly, main
from .data import sources
from .data.export import split_folders
from .data.sources import *  # noqa: F403 (a reader per layout)
from .errors import Parser
from .spec import Augment, Dataset, File, Holdout, Official, Paper, Published, Samples

__all__ = [
    "Augment",
    "Dataset",
    "File",
    "Holdout",
    "Official",
    "Paper",
    "Parser",
    "Published",
    "Samples",
    "friendly",
    "main",
    "split_folders",
    *sources.__all__,
]
