"""A recommendation as text: progress lines, the ranked table, the advice."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..run.recorded_recipe import RATE_SOURCES
from ..run.results import METRICS
from ..statistics.posterior import EQUIVALENT, MARGIN

Row = Mapping[str, Any]
CHEAPER = 0.8  # fraction of the leader's training time, at most
SKEW = 1.5  # largest class, relative to the mean class, above which balanced accuracy is the metric
POWER = 1.96 + 0.84  # standard errors of a difference that is significant at 5 % in four of five samples
AFFORDABLE = 20  # the largest factor of images to suggest


def format_score(backbone: str, weights: str, n_images: int, metric: str, scores: Mapping[str, float]) -> str:
    """The scores of a backbone after a round."""
    return (
        f"{_name(backbone, weights)}, {n_images:,} images: probe {METRICS[metric]} {_percent(scores['probe'])}, "
        f"kNN {_percent(scores['knn'])}, LogME {scores['logme']:.3f}, H-score {scores['h_score']:.2f}"
    )


def format_dropped(row: Row, metric: str) -> str:
    return (
        f"{row['name']} is dropped: probe {METRICS[metric]} {_percent(row['score'])} on {row['images']:,} images, "
        f"{_behind(row)} behind the leader, P(best) of the probe {row['p_best']:.2f}; the remaining images would take "
        f"{format_duration(row['needed_seconds'])}"
    )


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """An answer with other names of backbones."""
    if isinstance(value, Mapping):
        return {names.get(key, key): rename(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rename(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value


def format_table(answer: Row) -> str:
    """The data, and the backbones in order."""
    return "\n".join([*_data_lines(answer), *_table_lines(answer["backbones"], answer), *_omitted_lines(answer)])


def _data_lines(answer: Row) -> list[str]:
    of = f" of {answer['of']:,}" if answer["images"] < answer["of"] else ""
    groups = f" in {answer['groups']:,} groups" if answer["groups"] else ""
    lines = [
        f"{answer['dataset']}: {answer['images']:,}{of} images{groups} of {answer['classes']} classes; "
        f"{answer['held_out']:,} test images held out"
    ]
    if answer["metric"] == "balanced_accuracy":
        even, largest = _percent(1 / answer["classes"]), _percent(answer["largest_class"])
        lines.append(
            f"Ranked by balanced accuracy (class mean): it is the data sheet's metric, or the largest class has {largest} of "
            f"the images, more than {SKEW} times the mean class's {even}."
        )
    if baselines := answer.get("baselines"):  # older answers have none
        scores = (f"{name.replace('_', ' ')} {_percent(x)}" for name, x in baselines["scores"].items())
        lines.append(f"Baselines on {baselines['n']:,} images, {METRICS[answer['metric']]}: {', '.join(scores)}.")
    return lines


def _latency(milliseconds: float | None) -> str:
    return "" if milliseconds is None else f", serves an image in {milliseconds:.1f} ms"


def _table_lines(rows: Sequence[Row], answer: Row) -> list[str]:
    metric = METRICS[answer["metric"]]
    width = _name_width(row["backbone"] for row in rows)
    weights = max(13, *(len(row["pretrained_on"] or "") for row in rows))
    equal = ", ".join(f"{row['backbone']} {row['p_equivalent']:.2f}" for row in rows[1:] if row["equivalent"])
    marks = f"= P(at most half a point below the best probe) of {EQUIVALENT:.2f} or more{equal and f' ({equal})'}; ~ not significantly different from the first."
    return [
        f"    {'backbone':{width}} {'weights':{weights}} {'pixels':>7} {f'probe: {metric}, P(best)':>37} {'kNN':>7} {'LogME':>7} "
        f"{'H-score':>7} {'params':>7} {'GMACs':>6} {'img/s':>7} {'memory':>7} {'training':>8}",
        *(_table_line(place, row, (width, weights), _p_best(row, rows)) for place, row in enumerate(rows, 1)),
        *([marks] if len(rows) > 1 else []),
        f"Probe and kNN by {answer['folds']}-fold cross-validation, 95 % intervals; img/s: features only, measured here; "
        f"memory and training: estimates for the default recipe, batch size {rows[0]['batch_size']}, from a few steps"
        + ("." if all(row["training_seconds"] for row in rows) else "; -: not measured (out of budget or memory).")
        + ("" if all(row.get("steps", 1) for row in rows) else " It trains nothing on so few images: a probe's time."),
    ]


def _omitted_lines(answer: Row) -> list[str]:
    lines = [
        f"dropped after {row['images']:,} images: {row['name']}, {_percent(row['score'])}, {_behind(row)} behind"
        for row in answer["dropped"]
    ]
    if answer["left_out"]:
        lines.append(f"left out: {', '.join(answer['left_out'])}")
    if full := answer.get("full_comparison"):  # older answers have none
        lines.append(
            f"Within the budget, {len(answer['backbones'])} of {full['backbones']} backbones were compared on "
            f"{answer['images']:,} of {full['images']:,} images; all on all take about --budget {format_budget(full['budget_seconds'])}."
        )
    return lines


def format_advice(answer: Row) -> str:
    """The backbone of the lowest expected loss after fine-tuning, a cheaper equivalent, and what would increase the certainty."""
    first, *others = answer["backbones"]
    if not others:
        return f"Only one candidate, {_name(first['backbone'], first['weights'])}: there is nothing to compare it with."
    tied = [row for row in others if row["tied"]]
    more = _more_images(first, tied, answer["images"])
    top = "both" if len(others) == 1 else "the three of the lowest expected loss"
    settle = (
        f"fine-tuning may change the order: --finetune {min(3, 1 + len(others))} compares {top} on the test images."
    )
    if len(tied) == len(others):
        return f"{_advice_if_all_tied(answer)}; {more}{settle}"
    best = min(answer["backbones"], key=lambda row: row["regret_finetuned"])
    rest = [row for row in answer["backbones"] if row is not best]
    side, gap = ("ahead of", rest[0]) if best is first else ("behind", best)
    return (
        f"Take {_name(best['backbone'], best['weights'])}: after fine-tuning an expected loss of {_loss(best)} against the best, "
        f"P(best) {best['p_best_finetuned']:.2f}; its probe has {METRICS[answer['metric']]} {_percent(best['score'])} "
        f"{_interval(best['interval'])}, {_behind(gap)} {side} that of {_name(rest[0]['backbone'], rest[0]['weights'])}; "
        f"{_cheaper_alternative(best, rest)}; {more}{settle}"
    )


def _advice_if_all_tied(answer: Row) -> str:
    """The cheapest of those whose expected loss is near the lowest: no significant difference does not mean equal."""
    rows = answer["backbones"]
    best = min(rows, key=lambda row: row["regret_finetuned"])
    near = [row for row in rows if _is_near(row, best)]
    measured = all(row["training_seconds"] for row in near)
    cheapest = min(near, key=lambda row: row["training_seconds" if measured else "macs"])
    lowest = "" if cheapest is best else f"; the lowest is {_loss(best)}, of {_name(best['backbone'], best['weights'])}"
    return (
        f"The {len(rows)} are not distinguishable on {answer['images']:,} images (the last is {_behind(rows[-1])} behind): "
        f"take {_name(cheapest['backbone'], cheapest['weights'])} ({_cost(cheapest)}), "
        f"{'the cheapest' if measured else 'of the fewest operations'} within half a point of the lowest expected loss after fine-tuning "
        f"({_loss(cheapest)}, P(best) {cheapest['p_best_finetuned']:.2f}{lowest})"
    )


def _cheaper_alternative(first: Row, others: Sequence[Row]) -> str:
    """The cheapest whose expected loss is near that of the first."""
    seconds, near = first["training_seconds"], [row for row in others if _is_near(row, first)]
    if not all(row["training_seconds"] for row in (first, *near)):
        return "whether something cheaper is as good was not measured"
    if cheaper := [row for row in near if row["training_seconds"] <= CHEAPER * seconds]:
        best = min(cheaper, key=lambda row: row["training_seconds"])
        return (
            f"cheaper, at an expected loss after fine-tuning of {_loss(best)} instead of {_loss(first)}: "
            f"{_name(best['backbone'], best['weights'])} ({_cost(best)} instead of {_cost(first)})"
        )
    return "nothing cheaper is within half a point of its expected loss"


def _is_near(row: Row, best: Row) -> bool:
    return row["regret_finetuned"] <= best["regret_finetuned"] + MARGIN


def _loss(row: Row) -> str:
    return f"{100 * row['regret_finetuned']:.1f} points"


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


def format_finals(finals: Row) -> str:
    """The ranking of the fine-tuned networks on the test images."""
    rows = finals["backbones"]
    width = _name_width(row["name"] for row in rows)
    metric = METRICS[finals["metric"]]
    alike = set(finals["rates"].values()) == {RATE_SOURCES["searched"]}
    rates = "every learning rate searched alike" if alike else ", ".join(map(": ".join, finals["rates"].items()))
    lines = [f"Fine-tuned, {metric} on {finals['test_images']:,} test images, one seed each; {rates}."]
    lines += [
        f"{place:2}{_mark(place, row)} {row['name']:{width}} {_percent(row['score']):>7} {_interval(row['interval']):>16} "
        f"P(best) {_p_best(row, rows):>4}{_latency(finals['latency_ms'][row['name']])} -> {finals['runs'][row['name']]}"
        for place, row in enumerate(rows, 1)
    ]
    first, tied = rows[0], [row["name"] for row in rows[1:] if row["tied"]]
    if len(rows) == 1:
        lines.append("Only one backbone was fine-tuned: there is nothing to compare it with.")
    elif tied:
        losses = ", ".join(f"{row['name']} {100 * row['regret']:.1f}" for row in rows)
        lines.append(
            f"On the test images {first['name']} is not distinguishable from {' and '.join(tied)}, which does not mean equal: more "
            f"seeds or images would decide. Expected loss against the best, in points: {losses}."
        )
    else:
        lines.append(
            f"Best on test: {first['name']}, {_behind(rows[1])} ahead of {rows[1]['name']}; other seeds may change this."
        )
    return "\n".join(lines)


def _table_line(place: int, row: Row, widths: tuple[int, int], p_best: str) -> str:
    memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e9:.1f} GB"
    training = "-" if row["training_seconds"] is None else format_duration(row["training_seconds"])
    return (
        f"{place:2}{_mark(place, row)} {row['backbone']:{widths[0]}} {row['pretrained_on'] or 'random':{widths[1]}} {'x'.join(map(str, row['size'])):>7} "
        f"{_percent(row['score']):>12} {_interval(row['interval']):>16} {p_best:>7} {_percent(row['knn']):>7} {row['logme']:7.3f} "
        f"{row['h_score']:7.2f} {row['parameters'] / 1e6:5.1f} M {row['macs'] / 1e9:6.2f} {row['images_per_second']:7.0f} "
        f"{memory:>7} {training:>8}"
    )


def _name_width(names: Iterable[str]) -> int:
    return max(22, *map(len, names))


def _p_best(row: Row, rows: Sequence[Row]) -> str:
    return f"{row['p_best']:.2f}" if len(rows) > 1 else "-"


def _mark(place: int, row: Row) -> str:
    return " " if place == 1 else "=" if row["equivalent"] else "~" if row["tied"] else " "


def _cost(row: Row) -> str:
    if row["training_seconds"]:
        return f"training about {format_duration(row['training_seconds'])}"
    return f"{row['macs'] / 1e9:.2f} GMACs, training not measured"


def _name(backbone: str, weights: str) -> str:
    return f"{backbone} (random weights)" if weights == "none" else backbone


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _interval(interval: Sequence[float]) -> str:
    return "[{:.1f}, {:.1f}]".format(*(100 * bound for bound in interval))


def _behind(row: Row) -> str:
    return f"{100 * row['behind']:.1f} points {_interval(row['behind_interval'])}"


def format_duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def format_budget(seconds: float) -> str:
    """As an argument of `--budget`."""
    return f"{max(1, -(-seconds // 60)):.0f}m"
