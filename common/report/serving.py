"""What the networks of a dataset cost to serve, where `bench --serve` has measured it in their run folder."""

import json
from pathlib import Path
from typing import Any

from ..run.results import SERVE
from .sections import DatasetResults

ENGINE = ("engine", "threads", "p50_ms", "p95_ms", "images_per_second", "file_bytes")


def serving_rows(dataset: DatasetResults) -> list[dict[str, Any]]:
    """A row per backbone and engine, of the first seed that was measured; "machine" and, for int8, "difference" of top-1."""
    return [
        {"name": name, **row}
        for name, cell in dataset.cells.items()
        for row in next(filter(None, (_rows(run.folder / SERVE) for run in cell.runs)), ())
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    """Of one measurement; none if it is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
        compared, machine = found["int8"], str(found["device"])
        difference = compared and {"value": compared["difference"], "interval": tuple(compared["interval"])}
        return [
            {
                **{key: engine[key] for key in ENGINE},
                "machine": machine,
                "difference": difference if "int8" in engine["engine"] else None,
            }
            for engine in found["engines"]
        ]
    except (OSError, ValueError, LookupError, TypeError):
        return []
