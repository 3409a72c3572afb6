"""Sections -> one self-contained HTML page."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from ..statistics.paired import MARGIN
from . import charts, extras, svg
from .chapters import chapter, scores
from .read import METRICS, Found, Row
from .sections import Section


def page(found: Found, sections: Sequence[Section]) -> str:
    """The page's HTML. Runs on little of train have a chapter of their own where others are there."""
    names = sorted({row.backbone for row in found.rows})
    looks = svg.looks(names)
    shown = [section for section in sections if not section.terms.few] or sections
    few = [section for section in sections if section not in shown]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["p"] = lambda p: "< 0.001" if p < 0.001 else f"{p:.3f}"
    return environment.get_template("report.html.jinja").render(
        runs=len(found.rows),
        backbones=len(names),
        datasets=len({question.unit for section in sections for question in section.questions}),
        margin=f"{100 * MARGIN:g}",
        sections=[chapter(section, looks) for section in shown],
        few=[scores(section, section.backbones, {}) for section in few],
        low_data=[_low_data(low, looks) for low in extras.low_data(sections)],
        optimism=extras.optimism(sections),
        machines=_machines(found.rows),
        left_out=_left_out(found, sections),
        commands=[_commands(section) for section in sections],
    )


def _low_data(low: extras.LowData, looks: svg.Looks) -> dict[str, Any]:
    if low.lines.keys() - looks.styles.keys():  # names with their protocols
        looks = svg.looks(tuple(low.lines))
    told = []
    for name, protocol, images in low.overtakes:
        when = f"from {images:,.0f} images on" if images else "at no training set size that both have"
        told.append(f"{name}: protocol {protocol} overtakes the probe {when}.")
    lines = {name: [(x, 100 * y) for x, y in line] for name, line in low.lines.items()}
    label = f"{METRICS[low.metric]} against training images, {low.dataset}: " + "; ".join(
        f"{name} {line[0][1]:.1f} % at {line[0][0]:,.0f}, {line[-1][1]:.1f} % at {line[-1][0]:,.0f}"
        for name, line in lines.items()
    )
    return {
        "dataset": low.dataset,
        "title": low.title,
        "key": looks.key(tuple(low.lines)),
        "svg": charts.curves(lines, looks, "training images", f"{METRICS[low.metric]} (%)", label, log=True),
        "caption": f"{METRICS[low.metric]} on test against the number of training images; means over seeds.",
        "told": told,
    }


def _machines(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What the runs were made on and with, the most frequent first."""
    counted = Counter(
        (
            row.machine,
            row.threads,
            row.precision,
            ", ".join(f"{name} {number}" for name, number in row.versions.items()),
            row.commit,
        )
        for row in rows
    )
    head = ("machine", "threads", "precision", "versions", "commit")
    return [{**dict(zip(head, made, strict=True)), "runs": n} for made, n in counted.most_common()]


def _left_out(found: Found, sections: Sequence[Section]) -> list[str]:
    """Every run that the tables do not show, and why."""
    lines = [f"{folder}: not finished" for folder in found.unfinished]
    lines += [f"{folder}: unreadable ({why})" for folder, why in found.unreadable]
    for section in sections:
        for question in section.questions:
            lines += [
                f"{section.terms.title}, {question.name}, {name}: {cell.others} more, with settings that did worse on "
                "validation or with a duplicate seed"
                for name, cell in question.cells.items()
                if cell.others
            ]
    return lines


def _commands(section: Section) -> dict[str, Any]:
    return {
        "title": section.terms.title,
        "cells": [
            {
                "dataset": question.name,
                "backbone": name,
                "seeds": [row.seed for row in cell.rows],
                "command": f"python {cell.rows[0].command}" if cell.rows[0].command else "not recorded",
            }
            for question in section.questions
            for name, cell in question.cells.items()
        ],
    }
