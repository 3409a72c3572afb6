"""What the networks of a dataset cost to serve, where `bench --serve` has measured it in their run folder."""

from typing import Any

from ..run.results import serving
from .sections import DatasetResults


def serving_rows(dataset: DatasetResults) -> list[dict[str, Any]]:
    """A row per backbone and engine, of the first seed that was measured, see `serving`."""
    return [
        {"name": name, **row}
        for name, cell in dataset.cells.items()
        for row in next(filter(None, (serving(run.folder) for run in cell.runs)), ())
    ]
