"""The estimated time of the runs of a sweep."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ..errors import UserError
from ..recommend.text import format_duration
from ..run.recorded_recipe import trials
from ..run.results import RESULT, read_json, run_seconds
from ..spec import PARTS
from ..training.search_budget import MAX_COST
from .plan import Cell, image_passes

Rates = dict[tuple[str, bool], float]  # (backbone, whether it is trained) -> seconds per image pass and pixel


def fit(out: Path, bench: Path | None) -> Rates:
    """The median over the finished runs in `out`; for other backbones, the figure of `bench --out`.

    Raises:
        UserError: `bench` is not such a file, or a result is damaged.
    """
    rates: Rates = {}
    if bench:
        try:
            for row in read_json(bench):
                height, width = row["size"]
                rates[row["backbone"], True] = 1 / (row["end_to_end"] * height * width)
        except (TypeError, LookupError):
            raise UserError(f"{bench} is not an output of python -m common bench --out") from None
    measured: dict[tuple[str, bool], list[float]] = defaultdict(list)
    for path in out.glob(f"*/{RESULT}"):
        result = read_json(path)
        trained, recipe = result["protocol"] != "probe", result["recipe"]
        if result.get("features_remembered") or (trained and not result["last"]["step"]):
            continue
        height, width = result["preprocess"]["size"]
        passes = image_passes(
            tuple(result["split"][part] for part in PARTS),
            result["last"]["step"] if trained else 0,
            result["batch_size"],
            recipe["eval_every"],
            MAX_COST if trials(result) else 0.0,
        )
        measured[result["backbone"], trained].append(run_seconds(result) / (passes * height * width))
    return rates | {key: statistics.median(values) for key, values in measured.items()}


def estimate(cell: Cell, rates: Rates) -> float | None:
    """Seconds; None: the backbone has no rate."""
    rate = rates.get((cell.backbone, cell.protocol != "probe"))
    return None if rate is None else rate * cell.image_passes * cell.pixels


def format_total(cells: Iterable[Cell], rates: Rates, workers: int) -> str:
    """The time of all cells together."""
    estimates = [estimate(cell, rates) for cell in cells]
    known = [seconds for seconds in estimates if seconds is not None]
    if not estimates:
        return "nothing to do"
    if not known:
        return "cost unknown"
    unknown = f", {len(estimates) - len(known):,} of unknown cost" if len(known) < len(estimates) else ""
    return f"about {format_duration(sum(known) / workers)} with {workers} at a time{unknown}"
