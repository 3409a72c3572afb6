"""Which runs are worth their time first: probes tell, in seconds each, which backbones are worth fine-tuning."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..run.results import RESULT, read_json
from .plan import Cell

KEEP = 3  # one in so many backbones survives, as in successive halving (arXiv 1603.06560),
LEAST = 3  # but at least so many

Data = tuple[str, str]  # dataset, how much of it


def by_value(
    cells: Sequence[Cell], probes: Sequence[Cell], out: Path
) -> tuple[list[Cell], dict[Data, list[str]]]:
    """The cells of each dataset's best backbones, and those that are dropped, best first.

    A backbone's worth is its finished probe's score on validation images; those without one stay, at the end. The order
    is that of seeds, then of worth: every dataset's most promising backbone comes first.
    """
    worth: dict[Data, dict[str, float]] = defaultdict(dict)
    for probe in probes:
        if (out / probe.name / RESULT).exists():
            result = read_json(out / probe.name / RESULT)
            worth[probe.dataset, probe.few][probe.backbone] = result["best"][f"val_{result['metric']}"]
    place: dict[tuple[Data, str], int] = {}
    dropped: dict[Data, list[str]] = {}
    for data, scores in worth.items():
        order = sorted(scores, key=lambda name: -scores[name])
        kept = max(LEAST, -(-len(order) // KEEP))
        place |= {(data, name): i for i, name in enumerate(order[:kept])}
        dropped[data] = [f"{name} ({100 * scores[name]:.1f} %)" for name in order[kept:]]
    seeds = list(dict.fromkeys(cell.seed for cell in cells))

    def rank(cell: Cell) -> tuple[int, int]:
        return seeds.index(cell.seed), place.get(((cell.dataset, cell.few), cell.backbone), len(place))

    def stays(cell: Cell) -> bool:
        data = cell.dataset, cell.few
        return (data, cell.backbone) in place or cell.backbone not in worth.get(data, {})

    return sorted(filter(stays, cells), key=rank), {data: names for data, names in dropped.items() if names}
