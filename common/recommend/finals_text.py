"""The comparison of fine-tuned finalists as text."""

from ..run.recorded_recipe import RATE_SOURCES
from ..run.results import METRICS
from .text import Row, behind, enumerate_names, format_p_best, interval, mark, name_width, percent


def format_finals(finals: Row) -> str:
    """The ranking of the fine-tuned networks on the test images, and the advice."""
    rows = finals["backbones"]
    width = name_width(row["name"] for row in rows)
    metric = METRICS[finals["metric"]]
    alike = set(finals["rates"].values()) == {RATE_SOURCES["searched"]}
    rates = "every learning rate searched alike" if alike else ", ".join(map(": ".join, finals["rates"].items()))
    lines = [f"Fine-tuned, {metric} on {finals['test_images']:,} test images, one seed each; {rates}."]
    lines += [
        f"{place:2}{mark(place, row)} {row['name']:{width}} {percent(row['score']):>7} {interval(row['interval']):>16} "
        f"P(best) {format_p_best(row, rows):>4}{_latency(finals['latency_ms'][row['name']])} -> {finals['runs'][row['name']]}"
        for place, row in enumerate(rows, 1)
    ]
    return "\n".join([*lines, advice(finals)])


def advice(finals: Row) -> str:
    """The best backbone, those it is not distinguishable from, and what each of them is expected to lose."""
    rows = finals["backbones"]
    first, tied = rows[0], [row["name"] for row in rows[1:] if row["tied"]]
    if len(rows) == 1:
        return "Only one backbone was fine-tuned: there is nothing to compare it with."
    if tied:
        losses = ", ".join(f"{row['name']} {100 * row['regret']:.1f}" for row in rows)
        return (
            f"On the test images {first['name']} is not distinguishable from {enumerate_names(tied)}, which does not mean equal: more "
            f"seeds or images would decide. Expected loss against the best, in points: {losses}."
        )
    return f"Best on test: {first['name']}, {behind(rows[1])} ahead of {rows[1]['name']}; other seeds may change this."


def _latency(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f", serves an image in {milliseconds:.1f} ms"
