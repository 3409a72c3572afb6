"""What the scripts at the top need. Importing it is cheap: torch is loaded when a run starts."""

from .cli.arguments import add_groups, add_labels, bind_groups, bind_labels
from .cli.main import main, report_user_errors
from .data import readers
from .data.readers import *  # noqa: F403 (a reader per layout)
from .data.splits.export_folders import ExportConfig, split_folders
from .errors import Parser, printable
from .spec import Augment, Dataset, File, Holdout, Official, Paper, Published, Samples

__all__ = [
    "Augment",
    "Dataset",
    "ExportConfig",
    "File",
    "Holdout",
    "Official",
    "Paper",
    "Parser",
    "Published",
    "Samples",
    "add_groups",
    "add_labels",
    "bind_groups",
    "bind_labels",
    "main",
    "printable",
    "report_user_errors",
    "split_folders",
    *readers.__all__,
]
