"""Finds the data sheets: every script at the top of the repository that defines a `DATASET`, or several."""

from importlib import import_module
from pathlib import Path

from .spec import Dataset

ROOT = Path(__file__).resolve().parent.parent


def datasets() -> tuple[Dataset, ...]:
    """All data sheets, in the order of their names."""
    paths = (path for path in sorted(ROOT.glob("*.py")) if "\nDATASET" in path.read_text("utf-8"))
    scripts = [import_module(path.stem) for path in paths]
    return tuple(
        sheet
        for script in scripts
        for sheet in (script.DATASETS if hasattr(script, "DATASETS") else (script.DATASET,))
    )
