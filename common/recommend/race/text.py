"""A race as text: its runs, the backbone to use, the expected gain of more time."""

from collections.abc import Sequence

from ...run.results import METRICS
from ..text import Row, format_budget, format_duration, points
from .belief import OPEN


def format_race(race: Row, metric: str, budget: float) -> str:
    """The candidates, the best first; those that did not run, with the reason; the advice."""
    if race["ended"] == "time" and not race["seconds"]:
        return "\n".join([format_too_small(race, budget), advice(race)])
    ran = [row for row in race["backbones"] if _counts(row)]
    lines = [_title(race, metric)] if ran else []
    width = max(map(len, (row["name"] for row in race["backbones"])))
    for row in ran:
        runs = ", ".join(f"{n} of {float(part) * 100:.0f} %" for part, n in row["runs"].items() if n)
        lines.append(
            f"   {row['name']:{width}} {100 * row['score']:5.1f} % {_longest(row)}; P(best) {row['p_best']:.2f}, expected loss "
            f"{points(row['regret'])}; runs: {runs} of the steps, {format_duration(row['seconds'])}"
        )
    lines += [f"   {row['name']:{width}} {_reason(row, race)}" for row in race["backbones"] if not _counts(row)]
    return "\n".join([*lines, advice(race)])


def advice(race: Row) -> str:
    """The candidate to take, its expected loss, and what more time would buy."""
    first = race["backbones"][0]
    take = (
        f"Take {first['name']}: expected loss against the best {points(first['regret'])}, P(best) {first['p_best']:.2f}"
    )
    more, others = race["more"], race["backbones"][1:]
    if others and all(row["failed"] for row in others):
        return f"Take {first['name']}: the runs of all others failed."
    if race["ended"] == "tolerance":
        return f"{take}; the tolerance of {100 * race['tolerance']:g} points is reached."
    if race["ended"] == "exhausted" or not more or points(more["regret"]) == points(first["regret"]):
        return f"{take}; more time would hardly lower it."
    return f"{take}; {format_duration(more['seconds'])} more would bring it to {points(more['regret'])}."


def format_too_small(race: Row, budget: float) -> str:
    """For a budget too small for any run."""
    needed = budget + race["smallest_seconds"] - race["seconds_allowed"]
    return (
        f"No backbone was fine-tuned: {format_duration(max(0, race['seconds_allowed']))} of --budget were left for the race, and "
        f"the first useful runs take about {format_duration(race['smallest_seconds'])}; --budget {format_budget(needed)} would be enough for them."
    )


def _counts(row: Row) -> bool:
    """Whether it has runs and none failed."""
    return row["score"] is not None and not row["failed"]


def _title(race: Row, metric: str) -> str:
    counts = [[n for n in row["runs"].values() if n] for row in race["backbones"] if _counts(row)]
    several = sum(len(of_candidate) > 1 for of_candidate in counts)
    source = f"measured on {several} backbones" if several > 1 else "assumed: fewer than two have runs of two lengths"
    n_runs = sum(map(sum, counts))
    has_seeds = any(n > 1 for of_candidate in counts for n in of_candidate)
    seeds = "" if has_seeds else " One seed each: the effect of the seed is assumed."
    return (
        f"Race: {n_runs} short fine-tuning {'run' if n_runs == 1 else 'runs'} in {format_duration(race['seconds'])}. {METRICS[metric].capitalize()} is measured on the "
        f"training images that a run holds out; no test image is used. With twice the steps a backbone's score changes by about "
        f"{points(race['between_rungs'])} relative to the others ({source}).{seeds} {_rates(race['backbones'])}The scores are of runs of "
        "different lengths on different images: compare expected losses."
    )


def _rates(rows: Sequence[Row]) -> str:
    """How the learning rates of those that ran were chosen."""
    rates = [row["rates"] for row in rows if _counts(row)]
    counts = {"measured before": rates.count(1), "the better of two at each length": sum(n > 1 for n in rates)}
    texts = [f"{text} ({n} {'backbone' if n == 1 else 'backbones'})" for text, n in counts.items() if n]
    return f"Learning rates: {', '.join(texts)}. "


def _longest(row: Row) -> str:
    """The runs that the score is the mean of."""
    n = [n for n in row["runs"].values() if n][-1]
    return f"in its {f'{n} longest runs' if n > 1 else 'longest run'} ({row['images']:,} images)"


def _reason(row: Row, race: Row) -> str:
    if row["failed"]:
        return "out: a run failed"
    if row["p_best"] < OPEN:
        return f"not run: ruled out, P(best) {row['p_best']:.3f}, expected loss {points(row['regret'])}"
    p_best = f"P(best) {row['p_best']:.2f}"
    if race["ended"] == "tolerance":
        return f"not run: the tolerance was reached without it; {p_best}"
    if race["ended"] == "exhausted":
        return f"not run: it would hardly lower the loss; {p_best}"
    allowed, needed = race["seconds_allowed"], row["run_seconds"]
    left, cost = allowed - race["seconds"], f"one run takes about {format_duration(needed)}"
    if needed > allowed:
        return f"not run: {cost}, and the race had {format_duration(max(0, allowed))}; {p_best}"
    until = f", until {format_duration(max(0, left))} were left; {cost}" if needed > left else f"; {cost}"
    return f"not run: others lowered the loss by more per second{until}; {p_best}"
