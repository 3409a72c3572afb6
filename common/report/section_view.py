"""Template data of a section: summary, score table, mean ranks, costs."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from ..run.results import METRICS
from . import charts
from .costs import Tradeoff, tradeoffs
from .dataset_view import dataset_view
from .predictions import load_predictions
from .sections import DatasetResults, Section
from .significance import PairedTests, Ranking, paired_tests, rank_backbones, why_untested
from .summary import summarize
from .svg import Style
from .tables import protocol_note, search_note


def section_view(section: Section, style: Style) -> dict[str, Any]:
    ranking, tests, untested, datasets = rank_backbones(section), {}, {}, []
    for dataset in section.datasets:  # one at a time: logits are large
        predictions = load_predictions(dataset)
        tested = predictions and paired_tests(dataset, predictions)
        if tested:
            tests[dataset.name] = tested
        else:
            untested[dataset.name] = why_untested(predictions)
        datasets.append(dataset_view(dataset, predictions, tested, style))
    names = _column_order(section, ranking)
    costs = tradeoffs(section, ranking)
    return {
        **score_table(section, names, tests),
        "summary": summarize(section, ranking, tests, untested),
        "legend": style.legend(names),
        "ranks": ranking and _ranks_view(section, ranking, style),
        "costs": [_cost_view(tradeoff, section, style) for tradeoff in costs],
        "costs_note": _costs_note(costs),
        "datasets": datasets,
    }


def score_table(section: Section, names: Sequence[str], tests: Mapping[str, PairedTests]) -> dict[str, Any]:
    """The table of a section with its columns in the order of `names`, and its notes."""
    return {
        "title": section.setting.title,
        "caption": f"{protocol_note(section).replace('`', '')} Scores in %.",
        "search": search_note(section),
        "backbones": names,
        "rows": [_row(d, names, tests.get(d.name)) for d in section.datasets],
        "has_tests": bool(tests),
        "missing": [f"{name} on {dataset}" for dataset, name in section.missing],
        "caveats": list(dict.fromkeys(f"{d.unit}: {c}" for d in section.datasets for c in d.caveats)),
    }


def _column_order(section: Section, ranking: Ranking | None) -> list[str]:
    """Ranked backbones by rank, then the others by their mean score."""
    ranked = list(ranking.backbones) if ranking else []
    values: dict[str, list[float]] = defaultdict(list)
    for dataset in section.datasets:
        for name, cell in dataset.cells.items():
            values[name].append(cell.value)
    return ranked + sorted(values.keys() - set(ranked), key=lambda name: (-mean(values[name]), name))


def _row(dataset: DatasetResults, names: Sequence[str], tests: PairedTests | None) -> dict[str, Any]:
    """A row of the score table. Ties are marked only if the test compares the leader, in the metric shown."""
    comparable = tests and tests.leader == dataset.leader and tests.metric == dataset.metric
    tied = tests.tied if comparable else ()

    def view(name: str) -> dict[str, Any] | None:
        if name not in dataset.cells:
            return None
        cell = dataset.cells[name]
        leads = name == dataset.leader and len(dataset.cells) > 1
        return {
            "value": cell.value,
            "interval": cell.score(dataset.metric)[1],
            "deviation": cell.deviation(dataset.metric),
            "n": len(cell.runs),
            "setup": cell.setup if dataset.setups[1:] else "",
            "status": "best" if leads else "tied" if name in tied else "",
        }

    images = " / ".join(f"{n:,}" for n in dataset.first.images)
    return {
        "name": dataset.name,
        "info": f"{METRICS[dataset.metric]}, {images} images",
        "setup": "" if dataset.setups[1:] else dataset.setups[0],
        "cells": [view(name) for name in names],
    }


def _ranks_view(section: Section, ranking: Ranking, style: Style) -> dict[str, Any]:
    p = "< 0.001" if ranking.friedman < 0.001 else f"= {ranking.friedman:.3f}"
    note = (
        f"{len(ranking.backbones)} backbones on {len(ranking.units)} datasets ({', '.join(ranking.units)}). "
        f"Friedman test: p {p}. Bars join backbones whose mean ranks differ by less than the critical "
        "difference (Nemenyi, 5 %)."
    )
    if ranking.unranked:
        note += f" Not ranked because results are missing: {', '.join(ranking.unranked)}."
    rankings = {"all datasets": ranking}
    domains = sorted({dataset.domain for dataset in section.datasets})
    if len(domains) > 1:
        rankings |= {domain: r for domain in domains if (r := rank_backbones(section, domain))}
    diagrams = []
    for title, shown in rankings.items():
        ranks = "; ".join(f"{n} {r:.2f}" for n, r in zip(shown.backbones, shown.mean_ranks, strict=True))
        caption = f"{title[0].upper()}{title[1:]} (n = {len(shown.units)})."
        diagrams.append({"svg": charts.ranks(shown, style, f"Mean ranks, {title}: {ranks}"), "caption": caption})
    mean_rank = dict(zip(ranking.backbones, ranking.mean_ranks, strict=True))
    against = [{"name": n, "rank": mean_rank[n], "p": p} for n, p in ranking.against_first.items()]
    return {"note": note, "charts": diagrams, "first": ranking.backbones[0], "against_first": against}


def _cost_view(tradeoff: Tradeoff, section: Section, style: Style) -> dict[str, Any]:
    cost, front = tradeoff.cost, ", ".join(tradeoff.front)
    score = f"mean score of {len(tradeoff.datasets)} datasets (%)"
    if len(tradeoff.datasets) == 1:
        (metric,) = (d.metric for d in section.datasets if d.name == tradeoff.datasets[0])
        score = f"{METRICS[metric]} on {tradeoff.datasets[0]} (%)"
    points = {
        name: (x, 100 * value, interval and (100 * interval[0], 100 * interval[1]))
        for name, (x, value, interval) in tradeoff.points.items()
    }
    labels = charts.Labels(cost.title, score, f"{score} against {cost.title}; Pareto front: {front}")
    better = "higher is better (left)" if cost.more_is_better else "lower is better (left)"
    title = cost.title[0].upper() + cost.title[1:]
    return {
        "name": cost.name,
        "short": cost.short,
        "svg": charts.pareto(points, tradeoff.front, style, labels, cost.more_is_better),
        "caption": f"{title}: {better}. Pareto front: {front}; the others are faint.",
    }


def _costs_note(costs: Sequence[Tradeoff]) -> str:
    if not costs or any(tradeoff.cost.measured for tradeoff in costs):
        return ""
    return "Speed, memory and time are not compared: they were not all measured on one machine."
