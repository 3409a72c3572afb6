"""Formats the log records of a run as lines, its result as the last one."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..models.names import short_name
from ..run.results import METRICS, PART_NAMES, format_baselines, format_train_size
from ..spec import RunConfig

LINES = 30  # of evaluations, at most; a run's log.jsonl has all


def line_formatter(config: RunConfig) -> Callable[[dict[str, Any]], str | None]:
    """Returns a function that formats the log records of a run, each as a line; None for evaluations beyond `LINES`.

    Those shown are evenly spaced, and the last one is among them. With early stopping all are.
    """
    every = last = 0  # steps
    metric = "top1"

    def format_line(record: dict[str, Any]) -> str | None:
        nonlocal every, last, metric
        metric = record.get("metric", metric)
        if recipe := record.get("recipe"):
            last = sum(phase["steps"] for phase in recipe["phases"])
            every = _steps_per_line(recipe, last)
        if "train_loss" in record and every and record["step"] % every and record["step"] != last:
            return None
        return format_record(config, record, metric)

    return format_line


def _steps_per_line(recipe: Mapping[str, Any], steps: int) -> int:
    """Steps between the evaluations that are shown; 0: all are."""
    if not recipe["eval_every"] or any(phase["patience"] for phase in recipe["phases"]):
        return 0
    return recipe["eval_every"] * math.ceil(steps / (LINES * recipe["eval_every"]))


def format_record(config: RunConfig, record: dict[str, Any], metric: str) -> str:
    """The line of a log record: the data's layout, a run's start, its baselines, a recipe search, an evaluation or a probe's penalty.

    `metric` selects the weights, and comes first among the scores.
    """
    if "data" in record:
        return record["data"]
    if "note" in record:
        return record["note"]
    if "baselines" in record:
        return f"baselines: {format_baselines(record['baselines'], record['metric'])}"
    if "trials" in record:
        return _format_search(record["trials"])
    if "penalty" in record:
        return f"penalty {record['penalty']:.2g}: {_format_scores(record, metric)}"
    return _format_evaluation(record, metric) if "step" in record else _format_start(config, record)


def _format_search(trials: list[dict[str, Any]]) -> str:
    from ..training.recipe_search import best

    rates = ", ".join(f"{trial['lr']:g}" for trial in trials)
    return (
        f"learning rate {best(trials)['lr']:g}: of {rates} the best on validation after {trials[0]['steps']} steps; "
        f"{sum(trial['seconds'] for trial in trials):.0f} s, --lr X or --no_search does without"
    )


def _format_scores(record: dict[str, Any], metric: str) -> str:
    part = "test" if "test_top1" in record else "val"
    scores = (f"{METRICS[name]} {100 * record[f'{part}_{name}']:.2f} %" for name in dict.fromkeys((metric, "top1")))
    return f"{PART_NAMES[part]} {', '.join(scores)}, nll {record[f'{part}_nll']:.3f}"


def _format_evaluation(record: dict[str, Any], metric: str) -> str:
    epoch, scores = record["epoch"], _format_scores(record, metric)
    position = f"epoch {epoch:3}" if isinstance(epoch, int) else f"step {record['step']:6,}"
    if not record["step"]:
        return f"{position}: the frozen network's linear probe, {scores}"
    return (
        f"{position}: loss {record['train_loss']:.3f}, {scores}; {record['train_seconds']:.0f} s, "
        f"{record['train_images_per_second']:.0f} img/s"
    )


def _format_start(config: RunConfig, record: dict[str, Any]) -> str:
    split, (height, width) = record["split"], record["preprocess"]["size"]
    skipped = record["skipped_images"]
    compiled = f", compiled ({mode})" if (mode := record.get("compile_mode")) else ""
    return (
        f"{config.dataset.title}: {split['train']:,} training, {split['val']:,} validation and {split['test']:,} test images "
        f"of {record['classes']} classes at {height}x{width}{f', {skipped:,} unreadable left out' * bool(skipped)}; "
        f"{short_name(record['backbone'])} from {record['weights']}, "
        f"{record['parameters'] / 1e6:.1f} M parameters, {record['precision']}, {record['memory_format']}"
        f"{compiled} on {record['device']} -> {config.out}"
    )


def format_result(result: dict[str, Any], out: Path) -> str:
    """Dataset, backbone, headline metric with its interval, selected epoch, cost and run folder, in one line."""
    metric, split, cost = (result["test"][result["metric"]], result["split"], result["cost"])
    second = ""
    if result["metric"] == "auroc":  # it does not depend on a decision threshold
        second = f", balanced accuracy {100 * result['test']['balanced_accuracy']['value']:.2f} %"
    speed = f"{cost['train_images_per_second']:.0f} img/s, " if cost["train_images_per_second"] else ""
    method, selected = _method(result)
    return (
        f"{_dataset(result)} {short_name(result['backbone'])} {method}: {METRICS[result['metric']]} {_format_score(metric)}{second} "
        f"on {split['test']:,} test images{_disjoint(result)}; {selected}; {result['parameters'] / 1e6:.1f} M parameters, "
        f"{result['macs'] / 1e9:.2f} GMACs, {speed}{cost['train_seconds']:.0f} s -> {out}"
    )


def _format_score(score: dict[str, Any]) -> str:
    interval = score["interval"] and " [{:.2f}, {:.2f}]".format(*(100 * x for x in score["interval"]))
    return f"{100 * score['value']:.2f} %{interval or ''}"


def _no_gain(result: dict[str, Any]) -> str:
    """That the frozen network's probe is as good on the selection set, if it is."""
    probe, key = result.get("probe"), f"{result['chosen_on']}_{result['metric']}"
    if not probe or result["best"][key] > probe[key]:
        return ""
    as_good = (
        "where the frozen network's probe is as good" if result["best"]["step"] else "which training did not improve on"
    )
    return f", {as_good}: --protocol probe does without training"


def _disjoint(result: dict[str, Any]) -> str:
    """The score on the test images that share no group with training, if any do."""
    disjoint = result.get("test_disjoint")
    if not disjoint:
        return ""
    n, shared = disjoint["images"], disjoint["shared"]
    score = disjoint["scores"].get(result["metric"])
    rest = f"{_format_score(score)} on the other {n:,}" if score else f"{n:,} others"
    return f", of which {shared:,} share a group or a copy with training; {rest}"


def _dataset(result: dict[str, Any]) -> str:
    """The dataset, with its differences from the data sheet's in brackets."""
    differences = (
        f"fold {result['fold']}" if result["fold"] else "",
        "subset" if result["subset"] else "",
        format_train_size(result["shots"], result["fraction"]),
        "split from a file" if result["split_file"] else "",
        "the paper's split" if result["split"]["kind"] == "paper" else "",
    )
    text = ", ".join(filter(None, differences))
    return result["dataset"] + (f" ({text})" if text else "")


def _method(result: dict[str, Any]) -> tuple[str, str]:
    """("fine-tuned", "epoch 3 of 10 chosen on ..."): the training method, and the selected epoch, step or penalty."""
    best, random = result["best"], result["weights"] == "none"
    frozen = "random and frozen, linear probe" if random else "frozen, linear probe"
    part = result["chosen_on"]
    chosen = f" chosen on {result['split'][part]:,} {PART_NAMES[part]} images{_no_gain(result)}"
    if result["protocol"] == "probe":
        return frozen, f"penalty {best['penalty']:.2g}{chosen}"
    if not result["last"]["step"]:
        return frozen, "too few images to fine-tune"
    trained = "from scratch" if random else "fine-tuned"
    unit = "epoch" if result["recipe"]["eval_every"] == result["steps_per_epoch"] else "step"
    selected = f"{unit} {round(best[unit], 1):,} of {round(result['last'][unit], 1):,}{chosen}"
    return (trained if best["step"] else frozen), selected
