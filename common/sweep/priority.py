"""The order of a sweep under a budget: backbones that linear probes do not rule out are fine-tuned, the most promising first."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..models import build
from ..recommend import finetuned_order, published
from ..recommend.race.belief import OPEN
from ..run.predictions import read_predictions
from ..run.results import RESULT, read_json
from ..statistics.posterior import p_best
from .plan import Cell

Data = tuple[str, str]  # dataset, training set size
Selection = Mapping[Data, Mapping[str, float]]  # P(best after fine-tuning) of the probed backbones, the highest first


def prioritize(cells: Sequence[Cell], probes: Sequence[Cell], out: Path) -> tuple[list[Cell], Selection]:
    """The cells of the backbones that may be the best, in order, and the probabilities.

    As in the race of `recommend`, a backbone is dropped whose P(best) is below `OPEN`; those without a finished probe
    survive, at the end. Cells are ordered by seed, then by rank: the most promising backbone of every dataset comes first.
    """
    folders: dict[Data, dict[str, Path]] = defaultdict(dict)
    for probe in probes:
        if (out / probe.name / RESULT).exists():
            folders[probe.dataset, probe.train_size][probe.backbone] = out / probe.name
    selection = {data: _p_best(of_data) for data, of_data in folders.items()}
    ranks = {(data, name): rank for data, p in selection.items() for rank, name in enumerate(p)}
    seeds = list(dict.fromkeys(cell.seed for cell in cells))

    def order(cell: Cell) -> tuple[int, int]:
        return seeds.index(cell.seed), ranks.get(((cell.dataset, cell.train_size), cell.backbone), len(ranks))

    def survives(cell: Cell) -> bool:
        return selection.get((cell.dataset, cell.train_size), {}).get(cell.backbone, 1.0) >= OPEN

    return sorted(filter(survives, cells), key=order), selection


def format_selection(selection: Selection) -> str:
    """A line per dataset: the probabilities, and what is ruled out."""
    lines = []
    for data, probabilities in selection.items():
        if len(probabilities) > 1:
            still_open = ", ".join(f"{name} {p:.2f}" for name, p in probabilities.items() if p >= OPEN)
            dropped = ", ".join(f"{name} {p:.3f}" for name, p in probabilities.items() if p < OPEN)
            ruled_out = f"; ruled out: {dropped}" if dropped else ""
            lines.append(f"{' '.join(filter(None, data))}, P(best after fine-tuning): {still_open}{ruled_out}")
    return "\n".join(lines)


def _p_best(folders: Mapping[str, Path]) -> dict[str, float]:
    """By backbone, the highest first, from its probe's predictions for the validation images.

    Backbones without predictions for the same images and classes are left out.
    """
    predictions = {name: found for name, folder in folders.items() if (found := read_predictions(folder, "val"))}
    if not predictions:
        return {}
    first = next(iter(predictions.values()))
    names = [name for name, one in predictions.items() if (one.images, one.classes) == (first.images, first.classes)]
    if len(set(first.images if first.groups is None else first.groups.tolist())) < 2:
        return {}
    results = {name: read_json(folders[name] / RESULT) for name in names}
    predicted = np.stack([predictions[name].logits.argmax(1) for name in names])
    metric, seed = results[names[0]]["metric"], results[names[0]]["seed"]
    metric = "top1" if metric == "top1" else "balanced_accuracy"
    rows = [_row(name, results[name]["weights"]) for name in names]
    final = finetuned_order.from_predictions(rows, predicted, first.labels, metric, seed, first.groups)
    return dict(sorted(zip(names, p_best(final).tolist(), strict=True), key=lambda pair: -pair[1]))


def _row(name: str, weights: str) -> dict[str, Any]:
    """A backbone as a row of `finetuned_order`."""
    backbone = build.get_backbone(name)
    return {"weights": weights, **published.figures(backbone, weights)}
