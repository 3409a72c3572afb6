"""What the runs of a sweep will take, from runs that have ended and from what `bench` has measured."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from ..run.results import RESULT, read_json
from ..spec import PARTS
from .plan import Cell, looks

Prices = dict[tuple[str, bool], float]  # (backbone, trained or looked at alone) -> seconds per look and pixel


def prices(out: Path, bench: Path | None) -> Prices:
    """The median over finished runs below `out`; where there is none, what the file of `bench --out` tells.

    Raises:
        UserError: `bench` is no such file.
    """
    found: Prices = {}
    if bench:
        try:
            for row in read_json(bench):
                height, width = row["size"]
                found[row["backbone"], True] = 1 / (row["end_to_end"] * height * width)
        except (TypeError, LookupError):
            raise UserError(f"{bench} does not hold what python -m common bench --out writes") from None
    seconds: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for path in out.glob(f"*/{RESULT}"):
        result = json.loads(path.read_text("utf-8"))
        height, width = result["preprocess"]["size"]
        trained, cost = result["protocol"] != "probe", result["cost"]
        if result.get("features_remembered"):
            continue
        steps, recipe = result["last"]["step"] if trained else 0, result["recipe"]
        parts = tuple(result["split"][part] for part in PARTS)
        seen = looks(parts, steps, result["batch_size"], recipe["eval_every"], bool(result.get("lr_search")))
        # a run that was resumed tells of training what all its processes took, in total what the last one did
        took = max(cost["total_seconds"], cost["train_seconds"])
        seconds[result["backbone"], trained].append(took / (seen * height * width))
    return found | {key: statistics.median(values) for key, values in seconds.items()}


def price(cell: Cell, known: Prices) -> float | None:
    """Seconds; None: nothing is known of the backbone."""
    rate = known.get((cell.backbone, cell.protocol != "probe"))
    return None if rate is None else rate * cell.looks * cell.pixels


def told(cells: Iterable[Cell], known: Prices, workers: int) -> str:
    """The time that all of them take together."""
    each = [price(cell, known) for cell in cells]
    sure = [seconds for seconds in each if seconds is not None]
    unknown = f", {len(each) - len(sure):,} of unknown cost" if len(sure) < len(each) else ""
    if not sure:
        return "cost unknown" if each else "nothing to do"
    return f"about {duration(sum(sure) / workers)} with {workers} at a time{unknown}"


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
