"""Finds the data sheets: every script at the top of the repository that defines a `DATASET` or `DATASETS`."""

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path

from ..errors import UserError
from ..spec import Dataset

ROOT = Path(__file__).resolve().parents[2]


def datasets() -> tuple[Dataset, ...]:
    """All data sheets, in the order of their names."""
    paths = (path for path in sorted(ROOT.glob("*.py")) if "\nDATASET" in path.read_text("utf-8"))
    scripts = [import_module(path.stem) for path in paths]
    return tuple(
        sheet for script in scripts for sheet in (script.DATASETS if hasattr(script, "DATASETS") else (script.DATASET,))
    )


def find(name: str) -> Dataset:
    """The data sheet of this name; of a script with several, the first.

    Raises:
        UserError: there is none; suggests the nearest name.
    """
    sheets = {name: sheet for sheet in reversed(datasets()) for name in (sheet.name, sheet.script)}
    if name not in sheets and Path(name).name != name:
        raise UserError(f"{name} is a folder, not a dataset" if Path(name).exists() else f"no folder {name}")
    if name not in sheets:
        close = get_close_matches(name.lower(), sheets, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(sorted(sheets))}"
        raise UserError(f"no dataset {name!r}: {hint}")
    return sheets[name]
