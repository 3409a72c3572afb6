"""What the scripts at the top need. Importing it is cheap: torch is loaded when a run starts."""

from .cli.main import main, report_user_errors
from .data import readers
from .data.readers import *  # noqa: F403 (a reader per layout)
from .data.splits.export_folders import split_folders
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
    "main",
    "report_user_errors",
    "split_folders",
    *readers.__all__,
]
