"""A recommendation as text: a line per backbone, the ranked table, and what to do."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
NAMES = {"top1": "top-1", "balanced_accuracy": "balanced accuracy"}
CHEAPER = 0.8  # of the leader's training time, or less, is worth a word
SKEW = 1.5  # times its even share: what a class may have before balanced accuracy leads
POWER = 1.96 + 0.84  # standard errors that a difference needs to be seen at 5 % in four of five samples
AFFORDABLE = 20  # times the images that there are


def first_word(backbone: str, weights: str, images: int, metric: str, scores: Mapping[str, float]) -> str:
    """What is known of a backbone as soon as it has looked at so many images."""
    return (
        f"{_named(backbone, weights)}, {images:,} images: probe {NAMES[metric]} {_percent(scores['probe'])}, kNN {_percent(scores['knn'])}, "
        f"LogME {scores['logme']:.3f}, H-score {scores['h_score']:.2f}"
    )


def why_dropped(row: Row, metric: str) -> str:
    return (
        f"{row['name']} is dropped: probe {NAMES[metric]} {_percent(row['score'])} after {row['images']:,} images, "
        f"{_behind(row)} behind the leader, P(best) {row['p_best']:.2f}; its rest would take {_time(row['needed_seconds'])}"
    )


def table(answer: Row) -> str:
    """What was looked at, and the backbones in order."""
    of = f" of {answer['of']:,}" if answer["images"] < answer["of"] else ""
    groups = f" in {answer['groups']:,} groups" if answer["groups"] else ""
    metric, rows = NAMES[answer["metric"]], answer["backbones"]
    lines = [
        f"{answer['dataset']}: {answer['images']:,}{of} images{groups} of {answer['classes']} classes; {answer['held_out']:,} test "
        "images held out, not looked at"
    ]
    if answer["metric"] == "balanced_accuracy":
        even, share = _percent(1 / answer["classes"]), _percent(answer["largest_class"])
        lines.append(
            f"Ranked by balanced accuracy (class mean): the sheet's metric, or the largest class has {share} of the images, more "
            f"than {SKEW} times its even share of {even}."
        )
    lines.append(
        f"    {'backbone':22} {'weights':13} {'pixels':>7} {f'{metric} of the probe':>29} {'P(best)':>7} {'kNN':>7} {'LogME':>7} "
        f"{'H-score':>7} {'params':>7} {'GMACs':>6} {'img/s':>7} {'memory':>7} {'training':>8}"
    )
    lines += [_line(place, row) for place, row in enumerate(rows, 1)]
    lines += [
        "= practically equivalent to the first (within 0.5 points); ~ not significantly different from it.",
        f"Probe and kNN by {answer['folds']}-fold cross-validation, 95 % bootstrap intervals; img/s: features only, measured here; "
        f"memory and training: estimates for the default recipe, batch size {rows[0]['batch_size']}, from a few steps"
        + (
            "."
            if all(row["training_seconds"] for row in rows)
            else "; -: not measured (out of budget or memory)."
        ),
    ]
    for row in answer["dropped"]:
        lines.append(
            f"dropped after {row['images']:,} images: {row['name']}, {_percent(row['score'])}, {_behind(row)} behind"
        )
    if answer["left_out"]:
        lines.append(f"left out, for the reasons above: {', '.join(answer['left_out'])}")
    return "\n".join(lines)


def advice(answer: Row) -> str:
    """What to take, what is cheaper and as good, how sure that is, and what would settle it."""
    rows = answer["backbones"]
    names = {row["backbone"]: _named(row["backbone"], row["weights"]) for row in rows}
    first, others = rows[0], rows[1:]
    if not others:
        return f"Only {names[first['backbone']]} was looked at: there is nothing to compare it with."
    tied = [row for row in others if row["tied"]]
    score = f"{NAMES[answer['metric']]} {_percent(first['score'])} {_interval(first['interval'])}"
    settle = "fine-tuning may change the order: --finetune 3 compares the top three on the test images"
    if len(tied) == len(others):
        all_measured = all(row["training_seconds"] for row in rows)
        cheapest = min(rows, key=_cost if all_measured else lambda row: row["macs"])
        return (
            f"All {len(rows)} are equal within the noise of {answer['images']:,} images (the last is {_behind(rows[-1])} behind): take the "
            f"{'cheapest' if all_measured else 'one with the fewest operations'}, {names[cheapest['backbone']]} ({_price(cheapest)}); {_more_images(tied, answer['images'])}{settle}."
        )
    said = f"Take {names[first['backbone']]}: {score}, P(best) {first['p_best']:.2f}, "
    said += f"{_behind(others[0])} ahead of {names[others[0]['backbone']]}; "
    good = [row for row in others if row["equivalent"] and _cheaper(row, first)]
    maybe = [row for row in tied if _cheaper(row, first)]
    if good:
        best = min(good, key=_cost)
        said += (
            f"cheaper and as good: {names[best['backbone']]} ({_price(best)} instead of {_price(first)}); "
        )
    elif maybe:
        best = min(maybe, key=_cost)
        said += f"cheaper and perhaps as good: {names[best['backbone']]} ({_price(best)} instead of {_price(first)}); "
    elif all(
        row["training_seconds"]
        for row in (first, *others)
        if row is first or row["tied"] or row["equivalent"]
    ):
        said += "nothing cheaper is as good; "
    else:
        said += "whether something cheaper is as good was not measured; "
    return said + _more_images(tied, answer["images"]) + settle + "."


def finals(played: Row) -> str:
    """Who won on the test images, and how sure that is."""
    rows = played["backbones"]
    metric = NAMES[played["metric"]]
    lines = [f"Fine-tuned, {metric} on {played['test_images']:,} test images, one seed each:"]
    for place, row in enumerate(rows, 1):
        lines.append(
            f"{place:2}{_mark(place, row)} {row['name']:22} {_percent(row['score']):>7} {_interval(row['interval']):>16} "
            f"P(best) {row['p_best']:.2f} -> {played['runs'][row['name']]}"
        )
    first, tied = rows[0], [row["name"] for row in rows[1:] if row["tied"]]
    if len(rows) == 1:
        lines.append("One alone was fine-tuned: there is nothing to compare it with.")
    elif tied:
        lines.append(
            f"On the test images {first['name']} is tied with {' and '.join(tied)}: try more seeds or images, or take the cheapest."
        )
    else:
        lines.append(
            f"Best on test: {first['name']}, {_behind(rows[1])} ahead of {rows[1]['name']}; other seeds may change this."
        )
    return "\n".join(lines)


def agreements(
    told: Sequence[Any],
    means: Mapping[str, tuple[float, Sequence[float] | None] | None],
    scores: Mapping[str, str],
) -> str:
    """Weighted taus per dataset and their means; what they say of the probe, no more than they can."""
    lines = [f"{'weighted tau':18} {'n':>3} " + " ".join(f"{name:>14}" for name in scores.values())]
    for one in told:
        cells = ["-" if one.tau[s] is None else f"{one.tau[s]:.2f}" for s in scores]
        lines.append(f"{one.dataset:18} {one.backbones:3} " + " ".join(f"{cell:>14}" for cell in cells))
    cells = ["-" if means[s] is None else f"{means[s][0]:.2f}" for s in scores]
    datasets = len({(one.dataset, one.tested) for one in told})
    lines.append(f"{'mean':18} {datasets:3} " + " ".join(f"{cell:>14}" for cell in cells))
    if any(means[s] and means[s][1] for s in scores):
        cells = ["-" if means[s] is None else "[{:.2f}, {:.2f}]".format(*means[s][1]) for s in scores]
        lines.append(f"{'95 %':18} {'':3} " + " ".join(f"{cell:>14}" for cell in cells))
    else:
        lines.append(
            f"No interval: {datasets} dataset(s), at least three needed. With few backbones this is anecdotal."
        )
    return "\n".join(lines)


def _line(place: int, row: Row) -> str:
    memory = "-" if row["peak_memory_bytes"] is None else f"{row['peak_memory_bytes'] / 1e9:.1f} GB"
    training = "-" if row["training_seconds"] is None else _time(row["training_seconds"])
    return (
        f"{place:2}{_mark(place, row)} {row['backbone']:22} {row['pretrained_on'] or 'random':13} {'x'.join(map(str, row['size'])):>7} "
        f"{_percent(row['score']):>12} {_interval(row['interval']):>16} {row['p_best']:7.2f} {_percent(row['knn']):>7} {row['logme']:7.3f} "
        f"{row['h_score']:7.2f} {row['parameters'] / 1e6:5.1f} M {row['macs'] / 1e9:6.2f} {row['images_per_second']:7.0f} "
        f"{memory:>7} {training:>8}"
    )


def _mark(place: int, row: Row) -> str:
    return " " if place == 1 else "=" if row["equivalent"] else "~" if row["tied"] else " "


def _more_images(tied: Sequence[Row], images: int) -> str:
    """How many images the difference to the nearest that is not told apart would take to be seen."""
    if not tied or tied[0]["behind"] <= 0:
        return ""
    low, high = tied[0]["behind_interval"]
    needed = images * (POWER * (high - low) / (2 * 1.96) / tied[0]["behind"]) ** 2
    if needed > AFFORDABLE * images:
        return ""
    return f"to tell {tied[0]['backbone']} apart takes about {float(f'{needed:.2g}'):,.0f} images; "


def _cost(row: Row) -> float:
    """Seconds of training, where they were measured."""
    return row["training_seconds"]


def _cheaper(row: Row, first: Row) -> bool:
    """As far as both were measured."""
    return bool(_cost(row) and _cost(first)) and _cost(row) <= CHEAPER * _cost(first)


def _price(row: Row) -> str:
    if row["training_seconds"]:
        return f"training about {_time(row['training_seconds'])}"
    return f"{row['macs'] / 1e9:.2f} GMACs, training not measured"


def _named(backbone: str, weights: str) -> str:
    return f"{backbone} (random weights)" if weights == "none" else backbone


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(interval: Sequence[float]) -> str:
    return "[{:.1f}, {:.1f}]".format(*(100 * x for x in interval))


def _behind(row: Row) -> str:
    return f"{100 * row['behind']:.1f} points {_interval(row['behind_interval'])}"


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 90
        else f"{seconds / 60:.0f} min"
        if seconds < 5400
        else f"{seconds / 3600:.1f} h"
    )
