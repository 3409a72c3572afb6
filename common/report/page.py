"""Sections -> one self-contained HTML page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ..run.results import METRICS
from ..statistics.posterior import MARGIN
from . import charts
from .ablations import LowData, low_data, optimism
from .runs import LoadedRuns, Run
from .section_view import score_table, section_view
from .sections import Section
from .svg import Style, make_style


def render_page(loaded: LoadedRuns, sections: Sequence[Section]) -> str:
    """The page's HTML. Low-data sections are shown on their own if there are others."""
    names = sorted({run.backbone for run in loaded.finished})
    style = make_style(names)
    main = [section for section in sections if not section.setting.train_size] or sections
    rest = [section for section in sections if section not in main]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["p"] = lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}"
    return environment.get_template("report.html.jinja").render(
        runs=len(loaded.finished),
        backbones=len(names),
        datasets=len({dataset.unit for section in sections for dataset in section.datasets}),
        margin=f"{100 * MARGIN:g}",
        sections=[section_view(section, style) for section in main],
        low_data_curves=[_low_data_view(low, style) for low in low_data(sections)],
        low_data_tables=[score_table(section, section.backbones, {}) for section in rest],
        optimism=optimism(sections),
        machines=_machines(loaded.finished),
        excluded=_excluded(loaded, sections),
        commands=[_commands(section) for section in sections],
    )


def _low_data_view(low: LowData, style: Style) -> dict[str, Any]:
    if low.curves.keys() - style.lines.keys():  # names with their protocols
        style = make_style(tuple(low.curves))
    metric, notes = METRICS[low.metric], []
    for name, protocol, images in low.crossovers:
        crossover = f"from {images:,.0f} images on" if images else "at no training set size that both have"
        notes.append(f"{name}: protocol {protocol} overtakes the probe {crossover}.")
    of = METRICS["balanced_accuracy" if low.metric == "balanced_accuracy" else "top1"]
    notes += [
        f"{name}: twice as many images, {100 * found.mean:+.1f} points of {of} "
        f"[{100 * found.interval[0]:.1f}, {100 * found.interval[1]:.1f}], extrapolated."
        for name, found in low.gains.items()
    ]
    curves = {name: [(x, 100 * y) for x, y in curve] for name, curve in low.curves.items()}
    alt = f"{metric} against training images, {low.dataset}: " + "; ".join(
        f"{name} {curve[0][1]:.1f} % at {curve[0][0]:,.0f}, {curve[-1][1]:.1f} % at {curve[-1][0]:,.0f}"
        for name, curve in curves.items()
    )
    return {
        "dataset": low.dataset,
        "title": low.title,
        "legend": style.legend(tuple(low.curves)),
        "svg": charts.curves(curves, style, charts.Labels("training images", f"{metric} (%)", alt), log=True),
        "caption": f"{metric} on test against the number of training images; means over seeds.",
        "notes": notes,
    }


def _machines(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Machines and versions with their number of runs, the most frequent first."""
    columns = ("machine", "threads", "precision", "versions", "commit")
    counts = Counter(
        (
            run.machine,
            run.threads,
            run.precision,
            ", ".join(f"{name} {number}" for name, number in run.versions.items()),
            run.commit,
        )
        for run in runs
    )
    return [{**dict(zip(columns, values, strict=True)), "runs": n} for values, n in counts.most_common()]


def _excluded(loaded: LoadedRuns, sections: Sequence[Section]) -> list[str]:
    """Every run that is not in the tables, with the reason."""
    lines = [f"{folder}: not finished" for folder in loaded.unfinished]
    lines += [f"{folder}: unreadable ({reason})" for folder, reason in loaded.unreadable]
    lines += [
        f"{section.setting.title}, {dataset.name}, {name}: {cell.excluded} more {'run' if cell.excluded == 1 else 'runs'} "
        "(lower validation score, or repeated seed)"
        for section in sections
        for dataset in section.datasets
        for name, cell in dataset.cells.items()
        if cell.excluded
    ]
    return lines


def _commands(section: Section) -> dict[str, Any]:
    return {
        "title": section.setting.title,
        "cells": [
            {
                "dataset": dataset.name,
                "backbone": name,
                "seeds": [run.seed for run in cell.runs],
                "command": f"python {cell.runs[0].command}" if cell.runs[0].command else "not recorded",
            }
            for dataset in section.datasets
            for name, cell in dataset.cells.items()
        ],
    }
