"""The ranking of a recommendation as text: a line per score, the table."""

from collections.abc import Mapping, Sequence

from ..run.results import METRICS
from ..statistics.posterior import EQUIVALENT
from .dataset import SKEW
from .text import Row, behind, format_budget, format_duration, format_p_best, interval, mark, name_width, named, percent


def format_score(backbone: str, weights: str, n_images: int, metric: str, scores: Mapping[str, float]) -> str:
    """The scores of a backbone after a round."""
    return (
        f"{named(backbone, weights)}, {n_images:,} images: probe {METRICS[metric]} {percent(scores['probe'])}, "
        f"kNN {percent(scores['knn'])}, LogME {scores['logme']:.3f}, H-score {scores['h_score']:.2f}"
    )


def format_dropped(row: Row, metric: str) -> str:
    return (
        f"{row['name']} is dropped: probe {METRICS[metric]} {percent(row['score'])} on {row['images']:,} images, "
        f"{behind(row)} behind the leader, P(best) of the probe {row['p_best']:.2f}; the remaining images would take "
        f"{format_duration(row['needed_seconds'])}"
    )


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
        even, largest = percent(1 / answer["classes"]), percent(answer["largest_class"])
        is_skewed = answer["largest_class"] * answer["classes"] > SKEW
        why = f"the largest class has {largest} of the images, more than {SKEW} times the mean class's {even}"
        why = why if is_skewed else "it is the data sheet's metric"
        lines.append(f"Ranked by balanced accuracy, the mean over classes: {why}.")
    baselines = answer["baselines"]
    scores = (f"{name.replace('_', ' ')} {percent(x)}" for name, x in baselines["scores"].items())
    lines.append(f"Baselines on {baselines['n']:,} images, {METRICS[answer['metric']]}: {', '.join(scores)}.")
    return lines


def _table_lines(rows: Sequence[Row], answer: Row) -> list[str]:
    metric = METRICS[answer["metric"]]
    width = name_width(row["backbone"] for row in rows)
    weights = max(13, *(len(row["pretrained_on"] or "") for row in rows))
    equal = ", ".join(f"{row['backbone']} {row['p_equivalent']:.2f}" for row in rows[1:] if row["equivalent"])
    marks = f"= P(at most half a point below the best probe) of {EQUIVALENT:.2f} or more{equal and f' ({equal})'}; ~ not significantly different from the first."
    return [
        f"    {'backbone':{width}} {'weights':{weights}} {'pixels':>7} {f'probe: {metric}, P(best)':>37} {'kNN':>7} {'LogME':>7} "
        f"{'H-score':>7} {'params':>7} {'GMACs':>6} {'img/s':>7} {'memory':>7} {'training':>8}",
        *(_table_line(place, row, (width, weights), format_p_best(row, rows)) for place, row in enumerate(rows, 1)),
        *([marks] if len(rows) > 1 else []),
        f"Probe and kNN by {answer['folds']}-fold cross-validation, 95 % intervals; img/s: features only, measured here; "
        f"memory and training: estimates for the default recipe, batch size {rows[0]['batch_size']}, from a few steps"
        + ("; -: not measured (out of budget or memory)." if None in (row["training_seconds"] for row in rows) else ".")
        + (
            ""
            if all(row["steps"] for row in rows)
            else " On so few images the recipe trains only the head: the time of a probe."
        ),
    ]


def _table_line(place: int, row: Row, widths: tuple[int, int], p_best: str) -> str:
    memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e9:.1f} GB"
    training = "-" if row["training_seconds"] is None else format_duration(row["training_seconds"])
    return (
        f"{place:2}{mark(place, row)} {row['backbone']:{widths[0]}} {row['pretrained_on'] or 'random':{widths[1]}} {'x'.join(map(str, row['size'])):>7} "
        f"{percent(row['score']):>12} {interval(row['interval']):>16} {p_best:>7} {percent(row['knn']):>7} {row['logme']:7.3f} "
        f"{row['h_score']:7.2f} {row['parameters'] / 1e6:5.1f} M {row['macs'] / 1e9:6.2f} {row['images_per_second']:7.0f} "
        f"{memory:>7} {training:>8}"
    )


def _omitted_lines(answer: Row) -> list[str]:
    lines = [
        f"dropped after {row['images']:,} images: {row['name']}, {percent(row['score'])}, {behind(row)} behind"
        for row in answer["dropped"]
    ]
    if answer["left_out"]:
        lines.append(f"left out: {', '.join(answer['left_out'])}")
    if full := answer["full_comparison"]:
        lines.append(
            f"Within the budget, {len(answer['backbones'])} of {full['backbones']} backbones were compared on "
            f"{answer['images']:,} of {full['images']:,} images; all on all take about --budget {format_budget(full['budget_seconds'])}."
        )
    return lines
