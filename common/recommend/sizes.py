"""The probe of one backbone on the same images at several image sizes, with its speed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from ..models import build
from ..spec import RunConfig
from . import probe, ranking
from .dataset import ProbeData, Round
from .probe import ProbeResult


def compare(
    run: RunConfig,
    sizes: Sequence[tuple[int, int]],
    data: ProbeData,
    round_: Round,
    first: ProbeResult,
    device: torch.device,
    seconds_left: Callable[[], float],
) -> list[dict[str, Any]]:
    """A row per size (H, W), the best first; `first` is the result at `run.image_size`.

    Sizes that the backbone does not accept become the nearest ones that it does; none is begun after the budget's end.
    """
    results = {run.image_size: first}
    for size in sizes:
        size = build.get_backbone(run.model).supported_size(size)
        if size not in results and seconds_left() > 0:
            at_size = replace(run, image_size=size)
            results[size] = probe.evaluate(at_size, data, replace(round_, n_new=len(round_)), None, device)
    names = ["x".join(map(str, size)) for size in results]
    predicted = np.array([result.predicted for result in results.values()])
    standings = ranking.rank(names, predicted, round_.labels, data.metric, run.seed, round_.groups)
    rates = dict(zip(names, (result.images_per_second for result in results.values()), strict=True))
    return [{**asdict(each), "images_per_second": rates[each.name]} for each in standings]


def format_sizes(backbone: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A line: accuracy and speed per size, the best first, and the fastest size that is tied with it."""
    shown = ", ".join(
        f"{row['name']} {100 * row['score']:.1f} % at {row['images_per_second']:,.0f} img/s" for row in rows
    )
    line = f"At which size? Probe of {backbone}: {shown}"
    fastest = max((row for row in rows if row["tied"]), key=lambda row: row["images_per_second"])
    if fastest is not rows[0]:
        line += f"; {fastest['name']} is not significantly worse than the best"
    return line + "."
