"""What the texts of a recommendation share: names, numbers, durations."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """An answer with other names of backbones."""
    if isinstance(value, Mapping):
        return {names.get(key, key): rename(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rename(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def named(backbone: str, weights: str) -> str:
    return f"{backbone} (random weights)" if weights == "none" else backbone


def enumerate_names(names: Sequence[str]) -> str:
    """As in a sentence: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def name_width(names: Iterable[str]) -> int:
    return max(22, *map(len, names))


def percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def points(fraction: float) -> str:
    return f"{100 * fraction:.1f} points"


def interval(bounds: Sequence[float]) -> str:
    return "[{:.1f}, {:.1f}]".format(*(100 * bound for bound in bounds))


def behind(row: Row) -> str:
    """How far it is behind the first, with the interval."""
    return f"{points(row['behind'])} {interval(row['behind_interval'])}"


def format_p_best(row: Row, rows: Sequence[Row]) -> str:
    return f"{row['p_best']:.2f}" if len(rows) > 1 else "-"


def mark(place: int, row: Row) -> str:
    return " " if place == 1 else "=" if row["equivalent"] else "~" if row["tied"] else " "


def format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_budget(seconds: float) -> str:
    """As an argument of `--budget`."""
    return f"{max(1, -(-seconds // 60)):.0f}m"
