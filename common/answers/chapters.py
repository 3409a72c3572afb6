"""A section as the page's template shows it: its table, ranks, costs, and what is to be said of every dataset."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np
from markupsafe import Markup

from ..measure import calibration
from . import charts, extras
from .answer import answer
from .costs import Tradeoff, tradeoffs
from .predictions import Tested, tested
from .sections import Cell, Question, Section
from .tables import METRICS, protocol
from .verdicts import Duels, Ranking, duels, ranking

PAIRS = 8  # most confused pairs to show


@dataclass(frozen=True, kw_only=True)
class Look:
    """How backbones are drawn, and their swatches for the keys of charts."""

    looks: Mapping[str, Mapping]
    swatches: Mapping[str, Markup]

    def key(self, names: Sequence[str]) -> list[tuple[str, Markup]]:
        return [(name, self.swatches[name]) for name in names]


def chapter(section: Section, look: Look) -> dict[str, Any]:
    ranked = ranking(section)
    seen = {q.name: found for q in section.questions if (found := tested(q))}
    fought = {
        q.name: found for q in section.questions if q.name in seen and (found := duels(q, seen[q.name]))
    }
    names = _order(section, ranked)
    trades = tradeoffs(section, ranked)
    return {
        "title": section.terms.title,
        "answer": answer(section, ranked, fought),
        "caption": f"{protocol(section).replace('`', '')} Scores in %.",
        "backbones": names,
        "key": look.key(names),
        "lines": [_line(q, names, fought.get(q.name)) for q in section.questions],
        "marks": bool(fought),
        "missing": [f"{name} on {dataset}" for dataset, name in section.missing],
        "caveats": [f"{q.name}: {caveat}" for q in section.questions for caveat in q.caveats],
        "ranks": ranked and _ranks(section, ranked, look),
        "costs": [_cost(trade, section, look) for trade in trades],
        "not_measured": _not_measured(trades),
        "details": [_detail(q, seen.get(q.name), fought.get(q.name), look) for q in section.questions],
    }


def _order(section: Section, ranked: Ranking | None) -> list[str]:
    """The ranked ones by rank, then the others by their mean score."""
    first = list(ranked.backbones) if ranked else []
    scores: dict[str, list[float]] = defaultdict(list)
    for question in section.questions:
        for name, cell in question.cells.items():
            scores[name].append(cell.value)
    return first + sorted(scores.keys() - set(first), key=lambda name: (-mean(scores[name]), name))


def _line(question: Question, names: Sequence[str], fought: Duels | None) -> dict[str, Any]:
    """A row of the table. The leader's equals are marked where the test compares the very score that is shown."""
    comparable = fought and fought.leader == question.leader and fought.metric == question.metric
    tied = fought.tied if comparable else ()

    def shown(name: str) -> dict[str, Any] | None:
        if name not in question.cells:
            return None
        cell = question.cells[name]
        lead = name == question.leader and len(question.cells) > 1
        return {
            "value": cell.value,
            "interval": cell.score(question.metric)[1],
            "deviation": cell.deviation(question.metric),
            "n": len(cell.rows),
            "standing": "lead" if lead else "tied" if name in tied else "",
        }

    images = question.first.images
    return {
        "name": question.name,
        "about": f"{METRICS[question.metric]}, {images[0]:,} / {images[1]:,} / {images[2]:,} images",
        "cells": [shown(name) for name in names],
    }


def _ranks(section: Section, ranked: Ranking, look: Look) -> dict[str, Any]:
    told = (
        f"{len(ranked.backbones)} backbones on {len(ranked.units)} datasets ({', '.join(ranked.units)}). "
        f"That all are alike has p = {ranked.friedman:.3f} (Friedman). Bars join those whose ranks are nearer than the critical "
        "difference (Nemenyi, 5 %)."
    )
    if ranked.unranked:
        told += f" Not ranked, for their missing cells: {', '.join(ranked.unranked)}."
    domains = sorted({q.domain for q in section.questions})
    by_domain = {d: found for d in domains if len(domains) > 1 and (found := ranking(section, d))}
    drawn = []
    for title, one in {"all datasets": ranked, **by_domain}.items():
        places = "; ".join(f"{n} {r:.2f}" for n, r in zip(one.backbones, one.mean_ranks, strict=True))
        drawn.append(
            {
                "svg": Markup(charts.ranks(one, look.looks, f"Mean ranks, {title}: {places}")),
                "caption": f"{title[0].upper()}{title[1:]} (n = {len(one.units)}).",
            }
        )
    places = dict(zip(ranked.backbones, ranked.mean_ranks, strict=True))
    versus = [{"name": name, "rank": places[name], "p": p} for name, p in ranked.versus.items()]
    return {"told": told, "charts": drawn, "first": ranked.backbones[0], "versus": versus}


def _cost(trade: Tradeoff, section: Section, look: Look) -> dict[str, Any]:
    one = len(trade.over) == 1
    metric = next(q.metric for q in section.questions if q.name == trade.over[0])
    score = f"{METRICS[metric]} on {trade.over[0]} (%)" if one else f"mean score of {len(trade.over)} datasets (%)"
    points = {
        name: (cost, 100 * value, interval and (100 * interval[0], 100 * interval[1]))
        for name, (cost, value, interval) in trade.points.items()
    }
    better = "more is better, to the left" if trade.cost.more_is_better else "less is better, to the left"
    return {
        "name": trade.cost.name,
        "short": trade.cost.short,
        "svg": Markup(
            charts.pareto(
                points, trade.front, look.looks, trade.cost.title, score, trade.cost.more_is_better,
                f"{score} against {trade.cost.title}; nothing is cheaper and better than {', '.join(trade.front)}",
            )
        ),
        "caption": f"{trade.cost.title[0].upper()}{trade.cost.title[1:]}: {better}. Nothing is cheaper and better than "
        f"{', '.join(trade.front)}; the others are faint.",
    }  # fmt: skip


def _not_measured(trades: Sequence[Tradeoff]) -> str:
    if not trades or any(trade.cost.measured for trade in trades):
        return ""
    return "Speed, memory and time were not all measured on one machine, so they are not compared."


def _detail(
    question: Question, seen: Tested | None, fought: Duels | None, look: Look
) -> dict[str, Any]:
    names = tuple(question.cells)
    drawn = [_curves(question, look)]
    shown: dict[str, Any] = {}
    searched = extras.sensitivity(question)
    if searched:
        lines = {name: [(x, 100 * y) for x, y in line] for name, line in searched.lines.items()}
        label = f"Validation score against learning rate, {question.name}"
        caption = "Learning rates: the score on validation after the first, short round of the search, which all take part in."
        drawn.append((charts.curves(lines, look.looks, "learning rate", "validation (%)", label, log=True), caption))
        shown["regret"] = searched.regret
    if seen:
        bins = {
            name: [b for b in calibration.reliability(logits, seen.labels) if b.count >= len(logits) / 100]
            for name, logits in seen.logits.items()
        }
        label = f"Reliability diagram, {question.name}: share of right answers against stated confidence"
        caption = "Reliability of the first seed's probabilities: on the dotted line they mean what they say. Points of fewer than one in a hundred images are left out."
        drawn.append((charts.reliability(bins, look.looks, label), caption))
        leader = question.leader if question.leader in seen.confusion else next(iter(seen.confusion))
        counts = seen.confusion[leader]
        label = f"Confusion matrix of {leader} on {question.name}"
        drawn.append((charts.confusion(counts, seen.classes, label), f"Confusions of {leader}, all its seeds together."))
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
        "key": look.key(names),
        "charts": [{"svg": Markup(one), "caption": caption} for one, caption in drawn if one],
        "calibrated": [c for name, cell in question.cells.items() if (c := _calibrated(name, cell))],
        **shown,
    }


def _curves(question: Question, look: Look) -> tuple[str, str]:
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
    drawn = charts.curves(lines, look.looks, "epoch", f"{METRICS[question.metric]} on {where} (%)", label)
    return drawn, f"Learning curves on {where}, means over seeds."


def _confused(counts: np.ndarray, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent mistakes."""
    wrong = counts - np.diag(counts.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    pairs = [divmod(int(i), len(classes)) for i in order]
    return [
        {"true": classes[i], "said": classes[j], "count": int(wrong[i, j]), "share": wrong[i, j] / counts[i].sum()}
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
