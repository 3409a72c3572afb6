"""Template data of a dataset: paired tests, learning curves, calibration, confusions, the cost of serving."""

import json
from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from ..metrics import calibration
from ..run.per_class import class_scores
from ..run.results import METRICS, MISTAKES, RESULT, format_baselines, serving
from . import charts
from .predictions import Predictions
from .sections import Cell, DatasetResults
from .significance import PairedTests
from .svg import Style

MAX_PAIRS = 8  # most confused pairs shown
MAX_IMAGE_BYTES = 200_000  # larger images are not embedded


def dataset_view(
    dataset: DatasetResults, predictions: Predictions | None, tests: PairedTests | None, style: Style
) -> dict[str, Any]:
    """Without predictions there are neither tests nor confusions."""
    figures = [_learning_curves(dataset, style)]
    confusions = {}
    if predictions:
        leader = dataset.leader if dataset.leader in predictions.confusion else min(predictions.confusion)
        counts, classes = predictions.confusion[leader], predictions.classes
        figures += [
            _reliability_diagram(dataset, predictions, style),
            _confusion_matrix(dataset, leader, counts, classes),
            _mistakes(dataset, leader),
        ]
        confusions = {
            "leader": leader,
            "confused": _confused_pairs(counts, classes),
            "per_class": _per_class(predictions, leader),
            "points": _operating_points(dataset, leader),
            "untested": predictions.why_untested,
        }
    images, classes, baselines = dataset.first.images, dataset.first.classes, dataset.first.baselines
    return {
        "name": dataset.name,
        "info": f"{dataset.domain}, {images[2]:,} test images of {classes} classes",
        "baselines": baselines and format_baselines(baselines, dataset.metric),
        "legend": style.legend(tuple(dataset.cells)),
        "tests": tests,
        "tested_metric": tests and METRICS[tests.metric],
        "charts": [figure for figure in figures if figure],
        "calibrated": [c for name, cell in dataset.cells.items() if (c := _calibration(name, cell))],
        "serving": _serving(dataset),
        **confusions,
    }


def _reliability_diagram(dataset: DatasetResults, predictions: Predictions, style: Style) -> dict[str, Any]:
    points = {}
    for name, logits in predictions.logits.items():
        confidence, accuracy, images = calibration.reliability(logits, predictions.labels)
        enough = images >= len(logits) / 100
        points[name] = (confidence[enough], accuracy[enough])
    alt = f"Reliability diagram, {dataset.name}: accuracy against confidence"
    return {
        "svg": charts.reliability(points, style, alt),
        "caption": "Reliability diagram of the first seed; the dotted line is perfect calibration. Bins with fewer "
        "than 1 % of the images are omitted.",
    }


def _confusion_matrix(
    dataset: DatasetResults, leader: str, counts: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    return {
        "svg": charts.confusion(counts, classes, f"Confusion matrix of {leader} on {dataset.name}"),
        "caption": f"Confusion matrix of {leader}, summed over seeds.",
    }


def _mistakes(dataset: DatasetResults, leader: str) -> dict[str, Any] | None:
    """`mistakes.jpg` of the leader's first run; None if it is missing or too large for the page."""
    path = dataset.cells[leader].runs[0].folder / MISTAKES
    if not path.is_file() or path.stat().st_size > MAX_IMAGE_BYTES:
        return None
    alt = escape(f"Most confident mistakes of {leader} on {dataset.name}")
    pixels = b64encode(path.read_bytes()).decode()
    return {
        "svg": Markup(f'<img src="data:image/jpeg;base64,{pixels}" alt="{alt}">'),
        "caption": f"Most confident mistakes of {leader}, first seed.",
    }


def _learning_curves(dataset: DatasetResults, style: Style) -> dict[str, Any] | None:
    """Scores per epoch on the part that selected the epoch; None if no epochs were logged."""
    part = dataset.first.setting.chosen_on
    key = f"{part}_{dataset.metric}"
    curves = {}
    for name, cell in dataset.cells.items():
        by_epoch: dict[float, list[float]] = defaultdict(list)
        for run in cell.runs:
            log = run.folder / "log.jsonl"
            for line in log.read_text("utf-8").splitlines() if log.exists() else ():
                record = json.loads(line)
                # AUROC needs images of all classes; a probe has no epochs
                if key in record and "epoch" in record:
                    by_epoch[record["epoch"]].append(100 * record[key])
        if by_epoch:
            curves[name] = [(epoch, mean(scores)) for epoch, scores in sorted(by_epoch.items())]
    if not curves:
        return None
    part = "validation" if part == "val" else part
    metric = METRICS[dataset.metric]
    alt = f"Learning curves, {dataset.name}: {metric} on {part} per epoch"
    return {
        "svg": charts.curves(curves, style, charts.Labels("epoch", f"{metric} on {part} (%)", alt)),
        "caption": f"Learning curves on {part}, means over seeds.",
    }


def _confused_pairs(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent confusions."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS]
    pairs = [divmod(int(i), len(classes)) for i in order]
    return [
        {
            "true": classes[i],
            "predicted": classes[j],
            "count": int(wrong[i, j]),
            "fraction": wrong[i, j] / counts[i].sum(),
        }
        for i, j in pairs
        if wrong[i, j]
    ]


def _per_class(predictions: Predictions, leader: str) -> list[dict[str, Any]]:
    """The scores of every class, of the leader's first seed."""
    scores = class_scores(predictions.logits[leader], predictions.labels, predictions.groups)
    return [{"name": name, **row} for name, row in zip(predictions.classes, scores, strict=True)]


def _operating_points(dataset: DatasetResults, leader: str) -> list[dict[str, Any]]:
    """Of two classes, of the leader's first seed; none of older results."""
    folder = dataset.cells[leader].runs[0].folder
    return json.loads((folder / RESULT).read_bytes()).get("operating_points") or []


def _calibration(name: str, cell: Cell) -> dict[str, Any] | None:
    """Before and after temperature scaling, means over seeds; None if a run has no temperature."""
    if not all(run.temperature and run.calibrated for run in cell.runs):
        return None
    return {
        "name": name,
        "temperature": mean(run.temperature for run in cell.runs),
        **{m: (cell.score(m)[0], mean(run.calibrated[m] for run in cell.runs)) for m in ("nll", "ece")},
    }


def _serving(dataset: DatasetResults) -> list[dict[str, Any]]:
    """A row per backbone and engine, of the first seed that `bench --serve` has measured, see `results.serving`."""
    return [
        {"name": name, **row}
        for name, cell in dataset.cells.items()
        for row in next(filter(None, (serving(run.folder) for run in cell.runs)), ())
    ]
