"""The advice of a recommendation: the backbone to fine-tune, a cheaper one that is about as good, how many images would settle it."""

from collections.abc import Sequence

from ..run.results import METRICS
from ..statistics.posterior import MARGIN
from .text import Row, behind, format_duration, interval, named, percent, points

CHEAPER = 0.8  # fraction of the leader's training time, at most
POWER = 1.96 + 0.84  # standard errors of a difference that is significant at 5 % in four of five samples
AFFORDABLE = 20  # the largest factor of images to suggest


def format_advice(answer: Row) -> str:
    """The backbone with the lowest expected loss after fine-tuning, a cheaper equivalent, and what would increase the certainty."""
    first, *others = answer["backbones"]
    if not others:
        return f"Only one backbone, {named(first['backbone'], first['weights'])}: there is nothing to compare it with."
    tied = [row for row in others if row["tied"]]
    more = _more_images(first, tied, answer["images"])
    top = "both" if len(others) == 1 else "the three with the lowest expected loss"
    settle = (
        f"fine-tuning may change the order: --finetune {min(3, 1 + len(others))} compares {top} on the test images."
    )
    if len(tied) == len(others):
        return f"{_advice_if_all_tied(answer)}; {more}{settle}"
    best = min(answer["backbones"], key=lambda row: row["regret_finetuned"])
    rest = [row for row in answer["backbones"] if row is not best]
    side, gap = ("ahead of", rest[0]) if best is first else ("behind", best)
    return (
        f"Take {named(best['backbone'], best['weights'])}: after fine-tuning an expected loss of {points(best['regret_finetuned'])} against the best, "
        f"P(best) {best['p_best_finetuned']:.2f}; its probe has {METRICS[answer['metric']]} {percent(best['score'])} "
        f"{interval(best['interval'])}, {behind(gap)} {side} that of {named(rest[0]['backbone'], rest[0]['weights'])}; "
        f"{_cheaper_alternative(best, rest)}; {more}{settle}"
    )


def _advice_if_all_tied(answer: Row) -> str:
    """The cheapest of those whose expected loss is near the lowest: no significant difference does not mean equal."""
    rows = answer["backbones"]
    best = min(rows, key=lambda row: row["regret_finetuned"])
    near = [row for row in rows if _is_near(row, best)]
    measured = all(row["training_seconds"] for row in near)
    cheapest = min(near, key=lambda row: row["training_seconds" if measured else "macs"])
    lowest = (
        ""
        if cheapest is best
        else f"; the lowest is {points(best['regret_finetuned'])}, of {named(best['backbone'], best['weights'])}"
    )
    return (
        f"The {len(rows)} are not distinguishable on {answer['images']:,} images (the last is {behind(rows[-1])} behind): "
        f"take {named(cheapest['backbone'], cheapest['weights'])} ({_cost(cheapest)}), "
        f"{'the cheapest' if measured else 'the one with the fewest multiply-adds'} within half a point of the lowest expected loss after fine-tuning "
        f"({points(cheapest['regret_finetuned'])}, P(best) {cheapest['p_best_finetuned']:.2f}{lowest})"
    )


def _cheaper_alternative(first: Row, others: Sequence[Row]) -> str:
    """The cheapest whose expected loss is near that of the first."""
    seconds, near = first["training_seconds"], [row for row in others if _is_near(row, first)]
    if not all(row["training_seconds"] for row in (first, *near)):
        return "whether something cheaper is as good was not measured"
    if cheaper := [row for row in near if row["training_seconds"] <= CHEAPER * seconds]:
        best = min(cheaper, key=lambda row: row["training_seconds"])
        return (
            f"cheaper, at an expected loss after fine-tuning of {points(best['regret_finetuned'])} instead of {points(first['regret_finetuned'])}: "
            f"{named(best['backbone'], best['weights'])} (about {format_duration(best['training_seconds'])} to train instead of "
            f"{format_duration(seconds)})"
        )
    return "nothing cheaper is within half a point of its expected loss"


def _is_near(row: Row, best: Row) -> bool:
    return row["regret_finetuned"] <= best["regret_finetuned"] + MARGIN


def _cost(row: Row) -> str:
    if row["training_seconds"]:
        return f"about {format_duration(row['training_seconds'])} to train"
    return f"{row['macs'] / 1e9:.2f} GMACs, training not measured"


def _more_images(first: Row, tied: Sequence[Row], n_images: int) -> str:
    """The number of images at which the difference to the nearest tied backbone would be significant, if it stays as large."""
    if not tied or tied[0]["behind"] <= 0:
        return ""
    needed = n_images * (POWER * tied[0]["behind_error"] / tied[0]["behind"]) ** 2
    if needed > AFFORDABLE * n_images:
        return ""
    pair = f"{first['backbone']} and {tied[0]['backbone']}"
    return (
        f"if their difference is as large as seen, about {float(f'{needed:.2g}'):,.0f} images would separate {pair}; "
    )
