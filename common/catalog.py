"""Finds the data sheets: every script at the top of the repository that defines a `DATASET`."""

from importlib import import_module
from pathlib import Path

from .spec import Dataset

ROOT = Path(__file__).resolve().parent.parent


def datasets() -> tuple[Dataset, ...]:
    """All data sheets, in the order of their names."""
    scripts = (path for path in sorted(ROOT.glob("*.py")) if "\nDATASET = " in path.read_text("utf-8"))
    return tuple(import_module(path.stem).DATASET for path in scripts)
