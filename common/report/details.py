"""A dataset as the page's template shows it: paired tests, learning curves, calibration, confusions."""

import json
from base64 import b64encode
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from ..metrics import calibration
from ..run.results import MISTAKES
from . import charts, extras
from .predictions import Predictions
from .read import METRICS
from .sections import Cell, Question
from .svg import Looks
from .verdicts import Duels

PAIRS = 8  # most confused pairs to show
LARGEST = 200_000  # bytes of a picture in the page


def detail(
    question: Question, seen: Predictions | None, fought: Duels | None, looks: Looks
) -> dict[str, Any]:
    """What the template shows of a dataset; without predictions there are neither tests nor confusions."""
    searched = extras.sensitivity(question)
    drawn = [_curves(question, looks), searched and _rates(question, searched, looks)]
    confused = {}
    if seen:
        leader = question.leader if question.leader in seen.confusion else min(seen.confusion)
        counts = seen.confusion[leader]
        drawn += [_reliability(question, seen, looks), _confusion(question, leader, counts, seen.classes)]
        drawn.append(_mistakes(question, leader))
        confused = {"leader": leader, "confused": _confused(counts, seen.classes), "without": seen.without}
    return {
        "name": question.name,
        "about": f"{question.domain}, {question.first.images[2]:,} test images of {question.first.classes} classes",
        "key": looks.key(tuple(question.cells)),
        "duels": fought,
        "compared": fought and METRICS[fought.metric],
        "charts": [chart for chart in drawn if chart],
        "calibrated": [c for name, cell in question.cells.items() if (c := _calibrated(name, cell))],
        "regret": searched.regret if searched else {},
        "validation_images": question.first.images[1],
        **confused,
    }


def _rates(question: Question, searched: extras.Sensitivity, looks: Looks) -> dict[str, Any]:
    lines = {name: [(rate, 100 * score) for rate, score in line] for name, line in searched.lines.items()}
    label = f"Validation score against learning rate, {question.name}"
    return {
        "svg": charts.curves(lines, looks, "learning rate", "validation (%)", label, log=True),
        "caption": "Learning-rate search: validation score after the first, short round, which includes all rates.",
    }


def _reliability(question: Question, seen: Predictions, looks: Looks) -> dict[str, Any]:
    points = {}
    for name, logits in seen.logits.items():
        confidence, accuracy, images = calibration.reliability(logits, seen.labels)
        enough = images >= len(logits) / 100
        points[name] = (confidence[enough], accuracy[enough])
    label = f"Reliability diagram, {question.name}: accuracy against confidence"
    return {
        "svg": charts.reliability(points, looks, label),
        "caption": "Reliability diagram of the first seed: the dotted line is perfect calibration. Bins with fewer "
        "than 1 % of the images are left out.",
    }


def _confusion(question: Question, leader: str, counts: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    return {
        "svg": charts.confusion(counts, classes, f"Confusion matrix of {leader} on {question.name}"),
        "caption": f"Confusion matrix of {leader}, summed over seeds.",
    }


def _mistakes(question: Question, leader: str) -> dict[str, Any] | None:
    """The picture that the leader's first run has left; None: it has none, or one too large for the page."""
    path = question.cells[leader].rows[0].folder / MISTAKES
    if not path.is_file() or path.stat().st_size > LARGEST:
        return None
    alt = escape(f"Most confident mistakes of {leader} on {question.name}")
    pixels = b64encode(path.read_bytes()).decode()
    return {
        "svg": Markup(f'<img src="data:image/jpeg;base64,{pixels}" alt="{alt}">'),
        "caption": f"Most confident mistakes of {leader}, in its first run.",
    }


def _curves(question: Question, looks: Looks) -> dict[str, Any] | None:
    """The learning curves, of validation (or of test, where it chose the epoch); None: no epochs were logged."""
    part = question.first.terms.chosen_on
    wanted = f"{part}_{question.metric}"
    lines = {}
    for name, cell in question.cells.items():
        by_epoch: dict[float, list[float]] = defaultdict(list)
        for row in cell.rows:
            log = row.folder / "log.jsonl"
            for line in log.read_text("utf-8").splitlines() if log.exists() else ():
                record = json.loads(line)
                if (
                    wanted in record and "epoch" in record
                ):  # AUROC needs all classes in the part; a probe has no epochs
                    by_epoch[record["epoch"]].append(100 * record[wanted])
        if by_epoch:
            lines[name] = [(epoch, mean(scores)) for epoch, scores in sorted(by_epoch.items())]
    if not lines:
        return None
    where = "validation" if part == "val" else part
    label = f"Learning curves, {question.name}: {METRICS[question.metric]} on {where} per epoch"
    return {
        "svg": charts.curves(lines, looks, "epoch", f"{METRICS[question.metric]} on {where} (%)", label),
        "caption": f"Learning curves on {where}, means over seeds.",
    }


def _confused(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent mistakes."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(i), len(classes)) for i in order]
    return [
        {
            "true": classes[i],
            "said": classes[j],
            "count": int(wrong[i, j]),
            "share": wrong[i, j] / counts[i].sum(),
        }
        for i, j in pairs
        if wrong[i, j]
    ]


def _calibrated(name: str, cell: Cell) -> dict[str, Any] | None:
    """Before and after temperature scaling, means over seeds; None: some run has none."""
    if not all(row.temperature and row.calibrated for row in cell.rows):
        return None
    return {
        "name": name,
        "temperature": mean(row.temperature for row in cell.rows),
        **{m: (cell.score(m)[0], mean(row.calibrated[m] for row in cell.rows)) for m in ("nll", "ece")},
    }
