"""The order of a sweep under a budget: linear probes select the backbones that are fine-tuned, the best first."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..run.results import RESULT, read_json
from .plan import Cell

REDUCTION = 3  # one in three backbones survives, as in successive halving (arXiv 1603.06560) ...
MIN_SURVIVORS = 3  # ... but at least three

Data = tuple[str, str]  # dataset, training set size


def prioritize(cells: Sequence[Cell], probes: Sequence[Cell], out: Path) -> tuple[list[Cell], dict[Data, list[str]]]:
    """The cells of each dataset's best backbones, in order, and the dropped backbones, best first.

    Backbones are ranked by the validation score of their finished probe; those without one survive, at the end. Cells
    are ordered by seed, then by rank: the best backbone of every dataset comes first.
    """
    scores: dict[Data, dict[str, float]] = defaultdict(dict)
    for probe in probes:
        if (out / probe.name / RESULT).exists():
            result = read_json(out / probe.name / RESULT)
            scores[probe.dataset, probe.train_size][probe.backbone] = result["best"][f"val_{result['metric']}"]
    ranks: dict[tuple[Data, str], int] = {}
    dropped: dict[Data, list[str]] = {}
    for data, of_data in scores.items():
        names = sorted(of_data, key=lambda name: -of_data[name])
        n_survivors = max(MIN_SURVIVORS, -(-len(names) // REDUCTION))
        ranks |= {(data, name): rank for rank, name in enumerate(names[:n_survivors])}
        if names[n_survivors:]:
            dropped[data] = [f"{name} ({100 * of_data[name]:.1f} %)" for name in names[n_survivors:]]
    seeds = list(dict.fromkeys(cell.seed for cell in cells))

    def order(cell: Cell) -> tuple[int, int]:
        return seeds.index(cell.seed), ranks.get(((cell.dataset, cell.train_size), cell.backbone), len(ranks))

    def survives(cell: Cell) -> bool:
        data = cell.dataset, cell.train_size
        return (data, cell.backbone) in ranks or cell.backbone not in scores.get(data, {})

    return sorted(filter(survives, cells), key=order), dropped
