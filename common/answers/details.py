"""A dataset as the page's template shows it: paired tests, learning curves, calibration, confusions."""

import json
from collections import defaultdict
from collections.abc import Sequence
from statistics import mean
from typing import Any

import numpy as np

from ..measure import calibration
from . import charts, extras
from .predictions import Predictions
from .sections import Cell, Question
from .svg import Looks
from .tables import METRICS
from .verdicts import Duels

PAIRS = 8  # most confused pairs to show


def detail(
    question: Question, seen: Predictions | None, fought: Duels | None, looks: Looks
) -> dict[str, Any]:
    names = tuple(question.cells)
    drawn = [_curves(question, looks)]
    shown: dict[str, Any] = {}
    searched = extras.sensitivity(question)
    if searched:
        lines = {name: [(x, 100 * y) for x, y in line] for name, line in searched.lines.items()}
        label = f"Validation score against learning rate, {question.name}"
        caption = "Learning rates: the score on validation after the first, short round of the search, which all take part in."
        drawn.append(
            (charts.curves(lines, looks, "learning rate", "validation (%)", label, log=True), caption)
        )
        shown["regret"] = searched.regret
    if seen:
        bins = {
            name: [b for b in calibration.reliability(logits, seen.labels) if b.count >= len(logits) / 100]
            for name, logits in seen.logits.items()
        }
        label = f"Reliability diagram, {question.name}: share of right answers against stated confidence"
        caption = "Reliability of the first seed's probabilities: on the dotted line they mean what they say. Points of fewer than one in a hundred images are left out."
        drawn.append((charts.reliability(bins, looks, label), caption))
        leader = question.leader if question.leader in seen.confusion else next(iter(seen.confusion))
        counts = seen.confusion[leader]
        label = f"Confusion matrix of {leader} on {question.name}"
        drawn.append(
            (
                charts.confusion(counts, seen.classes, label),
                f"Confusions of {leader}, all its seeds together.",
            )
        )
        shown |= {"leader": leader, "confused": _confused(counts, seen.classes), "without": seen.without}
    if fought:
        shown["duels"] = {
            "leader": fought.leader,
            "best": fought.best,
            "others": fought.others,
            "caption": f"Against {fought.leader}, {METRICS[fought.metric]} on the same {fought.images:,} test images, seeds "
            "averaged; McNemar's exact test of the first seeds. p values Holm-corrected.",
        }
    return {
        "name": question.name,
        "about": f"{question.domain}, {question.first.images[2]:,} test images of {question.first.classes} classes",
        "key": looks.key(names),
        "charts": [{"svg": one, "caption": caption} for one, caption in drawn if one],
        "calibrated": [c for name, cell in question.cells.items() if (c := _calibrated(name, cell))],
        **shown,
    }


def _curves(question: Question, looks: Looks) -> tuple[str, str]:
    """The learning curves, of validation (or of test, where it chose the epoch); "" where no log was kept."""
    part = question.first.terms.chosen_on
    wanted = f"{part}_{question.metric}"
    lines = {}
    for name, cell in question.cells.items():
        by_epoch: dict[float, list[float]] = defaultdict(list)
        for row in cell.rows:
            log = row.folder / "log.jsonl"
            for line in log.read_text("utf-8").splitlines() if log.exists() else ():
                record = json.loads(line)
                by_epoch[record["epoch"]].append(100 * record[wanted])
        if by_epoch:
            lines[name] = [(epoch, mean(scores)) for epoch, scores in sorted(by_epoch.items())]
    if not lines:
        return "", ""
    where = "validation" if part == "val" else part
    label = f"Learning curves, {question.name}: {METRICS[question.metric]} on {where} per epoch"
    drawn = charts.curves(lines, looks, "epoch", f"{METRICS[question.metric]} on {where} (%)", label)
    return drawn, f"Learning curves on {where}, means over seeds."


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
