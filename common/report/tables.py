"""Sections as Markdown, every run as a line of CSV. The README's table of results is made here, too."""

import csv
from collections.abc import Sequence
from pathlib import Path

from ..files.atomic import atomic_write
from .read import METRICS, SCRATCH, Row
from .sections import Cell, Question, Section

SPREAD = "Mean ± standard deviation over seeds (n); of a single run its 95 % bootstrap interval over test images (1)."
SUBSETS = "Subsets are not comparable with published results."


def figure(cell: Cell, metric: str, scale: int = 100, digits: int = 2) -> str:
    """`98.31 [98.00, 98.58] (1)`, or `99.08 ± 0.69 (3)` over seeds."""
    value, interval = cell.score(metric)
    spread = ""
    if len(cell.rows) > 1:
        spread = f" ± {scale * cell.deviation(metric):.{digits}f}"
    elif interval:
        low, high = (scale * end for end in interval)
        spread = f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{scale * value:.{digits}f}{spread} ({len(cell.rows)})"


def listing(sections: Sequence[Section]) -> str:
    """A line per dataset, backbone, size and start, and what to know of them."""
    cells = [(s, q, name, cell) for s in sections for q in s.questions for name, cell in q.cells.items()]
    head = "dataset | backbone | pixels | start | train / val / test | epochs | top1 (%) | macro F1 (%) | NLL | training"
    lines = sorted(_listed(*told) for told in cells)
    rows = [row for *_, cell in cells for row in cell.rows]
    machines = sorted({_machine(row) for row in rows})
    caveats = sorted({(row.dataset, i, caveat) for row in rows for i, caveat in enumerate(row.caveats)})
    notes = " ".join([*map(protocol, _unique(sections)), SPREAD, SUBSETS])
    return "\n".join(
        [
            f"| {head} |",
            "|" + "---|" * (head.count("|") + 1),
            *("| " + " | ".join(line) + " |" for line in lines),
            "",
            notes,
            f"Machine: {'; '.join(machines)}.",
            "",
            *(f"- {_escaped(dataset)}: {caveat}" for dataset, _, caveat in caveats),
        ]
    )


def _listed(section: Section, question: Question, name: str, cell: Cell) -> tuple[str, ...]:
    terms, row = section.terms, cell.rows[0]
    more = ("subset" * terms.subset, "the paper's split" * (terms.split == "paper"), terms.few)
    begin = terms.treated + f" ({terms.start})" * (terms.start not in (SCRATCH, "ImageNet-1k"))
    return (
        _escaped(question.name) + "".join(f" ({what})" for what in more if what),
        name,
        "x".join(map(str, row.size)),
        begin,
        " / ".join(f"{n:,}" for n in row.images),
        str(row.epochs),
        figure(cell, "top1"),
        figure(cell, "macro_f1"),
        figure(cell, "nll", 1, 3),
        f"{cell.cost('train_seconds'):.0f} s",
    )


def _machine(row: Row) -> str:
    threads = f"{row.threads} thread" + "s" * (row.threads != 1)
    return f"{row.machine}, {threads}, torch {row.versions['torch']}, {row.precision}"


def protocol(section: Section) -> str:
    chosen = (
        "on validation, test seen once"
        if section.terms.chosen_on == "val"
        else "on test itself, which is optimistic"
    )
    what = (
        "a linear probe of frozen features, its penalty" if section.terms.protocol == "probe" else "the epoch"
    )
    return f"Protocol `{section.terms.protocol}`: {what} chosen {chosen}."


def _unique(sections: Sequence[Section]) -> list[Section]:
    """One of each protocol."""
    return list({(s.terms.protocol, s.terms.chosen_on): s for s in reversed(sections)}.values())[::-1]


def matrix(section: Section) -> str:
    """Datasets down, backbones across, and what to know of them."""
    names = section.backbones
    lines = [
        "| dataset | metric | " + " | ".join(f"`{name}`" for name in names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    for question in section.questions:
        cells = [
            figure(question.cells[name], question.metric) if name in question.cells else "missing"
            for name in names
        ]
        lines.append(
            f"| {_escaped(question.name)} | {METRICS[question.metric]} (%) | " + " | ".join(cells) + " |"
        )
    caveats = [f"- {_escaped(q.name)}: {caveat}" for q in section.questions for caveat in q.caveats]
    return "\n".join(
        [
            *lines,
            "",
            f"{protocol(section)} {SPREAD}" + f" {SUBSETS}" * section.terms.subset,
            *(["", *caveats] if caveats else []),
        ]
    )


def markdown(sections: Sequence[Section]) -> str:
    """All tables of a report."""
    parts = [f"## {section.terms.title}\n\n{matrix(section)}\n" for section in sections]
    return "\n".join(["# Results", "", *parts, "## All results", "", listing(sections), ""])


def write_csv(path: Path, rows: Sequence[Row], sections: Sequence[Section]) -> None:
    """A line per run; `in_tables` tells those that the tables are made of."""
    taken = {
        row.folder for s in sections for q in s.questions for cell in q.cells.values() for row in cell.rows
    }
    costs = sorted({name for row in rows for name in row.cost})
    head = [
        "dataset", "fold", "split_file", "split", "fingerprint", "subset", "few", "classes", "train", "val", "test",
        "backbone", "start", "height", "width", "protocol", "chosen_on", "epochs", "seed", "in_tables", "metric",
        *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")), *costs,
        "machine", "torch", "commit", "folder", "command",
    ]  # fmt: skip
    with atomic_write(path, "-o") as part, open(part, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(head)
        for row in rows:
            terms = row.terms
            scores = [row.scores.get(metric, ("", None)) for metric in METRICS]
            lines.writerow([
                row.dataset, row.fold, row.split_file, terms.split, row.fingerprint, terms.subset, terms.few, row.classes, *row.images,
                row.backbone, terms.start, *row.size, terms.protocol, terms.chosen_on, row.epochs, row.seed, row.folder in taken, row.metric,
                *(x for value, ends in scores for x in (value, *(ends or ("", "")))), *(row.cost.get(name, "") for name in costs),
                row.machine, row.versions.get("torch"), row.commit, row.folder, row.command,
            ])  # fmt: skip


def _escaped(name: str) -> str:
    return name.replace("|", "\\|")
