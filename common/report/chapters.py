"""A section as the page's template shows it: its answer, table, ranks and costs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from . import charts
from .answer import answer
from .costs import Tradeoff, tradeoffs
from .details import detail
from .predictions import predictions_of
from .read import METRICS
from .sections import Cell, Question, Section
from .svg import Looks
from .tables import protocol
from .verdicts import Duels, Ranking, duels, ranking


def chapter(section: Section, looks: Looks) -> dict[str, Any]:
    """What the template calls a section."""
    ranked, fought, details = ranking(section), {}, []
    for question in section.questions:  # one by one: logits are large
        seen = predictions_of(question)
        duel = seen and duels(question, seen)
        if duel:
            fought[question.name] = duel
        details.append(detail(question, seen, duel, looks))
    names = _order(section, ranked)
    trades = tradeoffs(section, ranked)
    return {
        **scores(section, names, fought),
        "answer": answer(section, ranked, fought),
        "key": looks.key(names),
        "ranks": ranked and _ranks(section, ranked, looks),
        "costs": [_cost(trade, section, looks) for trade in trades],
        "not_measured": _not_measured(trades),
        "details": details,
    }


def scores(section: Section, names: Sequence[str], fought: Mapping[str, Duels]) -> dict[str, Any]:
    """The table of a section, its columns in the order of `names`, and what to know of it."""
    return {
        "title": section.terms.title,
        "caption": f"{protocol(section).replace('`', '')} Scores in %.",
        "backbones": names,
        "lines": [_line(q, names, fought.get(q.name)) for q in section.questions],
        "marks": bool(fought),
        "missing": [f"{name} on {dataset}" for dataset, name in section.missing],
        "caveats": list(
            dict.fromkeys(f"{q.unit}: {caveat}" for q in section.questions for caveat in q.caveats)
        ),
    }


def _order(section: Section, ranked: Ranking | None) -> list[str]:
    """The ranked ones by rank, then the others by their mean score."""
    first = list(ranked.backbones) if ranked else []
    values: dict[str, list[float]] = defaultdict(list)
    for question in section.questions:
        for name, cell in question.cells.items():
            values[name].append(cell.value)
    return first + sorted(values.keys() - set(first), key=lambda name: (-mean(values[name]), name))


def _line(question: Question, names: Sequence[str], fought: Duels | None) -> dict[str, Any]:
    """A row of the table. The leader's equals are marked where the test compares the very score that is shown."""
    comparable = fought and fought.leader == question.leader and fought.metric == question.metric
    tied = fought.tied if comparable else ()
    alike = sorted({_setting(cell) for cell in question.cells.values()})

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
            "setting": _setting(cell) if len(alike) > 1 else "",
            "standing": "lead" if lead else "tied" if name in tied else "",
        }

    parts = " / ".join(f"{n:,}" for n in question.first.images)
    return {
        "name": question.name,
        "about": f"{METRICS[question.metric]}, {parts} images",
        "alike": alike[0] if len(alike) == 1 else "",
        "cells": [shown(name) for name in names],
    }


def _setting(cell: Cell) -> str:
    row = cell.rows[0]
    height, width = row.size
    length = "" if row.terms.protocol == "probe" else f", {row.epochs} epochs"
    return f"{height}x{width}{length}" + ", LR searched" * bool(row.lr_search)


def _ranks(section: Section, ranked: Ranking, looks: Looks) -> dict[str, Any]:
    p = "< 0.001" if ranked.friedman < 0.001 else f"= {ranked.friedman:.3f}"
    told = (
        f"{len(ranked.backbones)} backbones on {len(ranked.units)} datasets ({', '.join(ranked.units)}). "
        f"Friedman test: p {p}. Bars join backbones whose mean ranks differ by less than the critical "
        "difference (Nemenyi, 5 %)."
    )
    if ranked.unranked:
        told += f" Not ranked, because of missing results: {', '.join(ranked.unranked)}."
    domains = sorted({q.domain for q in section.questions})
    by_domain = {d: found for d in domains if len(domains) > 1 and (found := ranking(section, d))}
    drawn = []
    for title, one in {"all datasets": ranked, **by_domain}.items():
        places = "; ".join(f"{n} {r:.2f}" for n, r in zip(one.backbones, one.mean_ranks, strict=True))
        drawn.append(
            {
                "svg": charts.ranks(one, looks, f"Mean ranks, {title}: {places}"),
                "caption": f"{title[0].upper()}{title[1:]} (n = {len(one.units)}).",
            }
        )
    places = dict(zip(ranked.backbones, ranked.mean_ranks, strict=True))
    versus = [{"name": name, "rank": places[name], "p": p} for name, p in ranked.versus.items()]
    return {"told": told, "charts": drawn, "first": ranked.backbones[0], "versus": versus}


def _cost(trade: Tradeoff, section: Section, looks: Looks) -> dict[str, Any]:
    score = f"mean score of {len(trade.over)} datasets (%)"
    if len(trade.over) == 1:
        (metric,) = (q.metric for q in section.questions if q.name == trade.over[0])
        score = f"{METRICS[metric]} on {trade.over[0]} (%)"
    points = {
        name: (cost, 100 * value, interval and (100 * interval[0], 100 * interval[1]))
        for name, (cost, value, interval) in trade.points.items()
    }
    better = "higher is better (left)" if trade.cost.more_is_better else "lower is better (left)"
    return {
        "name": trade.cost.name,
        "short": trade.cost.short,
        "svg": charts.pareto(
            points, trade.front, looks, trade.cost.title, score, trade.cost.more_is_better,
            f"{score} against {trade.cost.title}; Pareto front: {', '.join(trade.front)}",
        ),
        "caption": f"{trade.cost.title[0].upper()}{trade.cost.title[1:]}: {better}. Pareto front: "
        f"{', '.join(trade.front)}; the others are faint.",
    }  # fmt: skip


def _not_measured(trades: Sequence[Tradeoff]) -> str:
    if not trades or any(trade.cost.measured for trade in trades):
        return ""
    return "Speed, memory and time were not all measured on one machine, so they are not compared."
