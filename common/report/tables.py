"""Result tables: Markdown per section, CSV of all runs."""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files.atomic import atomic_write
from ..files.csv_text import escape
from ..run.results import METRICS, PART_NAMES
from .runs import SCRATCH, Run
from .sections import Cell, DatasetResults, Section

SPREAD = "Mean ± standard deviation over seeds (n); for a single run its 95 % interval over test images (1)."
SUBSETS = "Subsets are not comparable with published results."


def format_score(cell: Cell, metric: str, scale: int = 100, digits: int = 2) -> str:
    """`98.31 [98.00, 98.58] (1)`, or `99.08 ± 0.69 (3)` over seeds."""
    value, interval = cell.score(metric)
    spread = ""
    if len(cell.runs) > 1:
        spread = f" ± {scale * cell.deviation(metric):.{digits}f}"
    elif interval:
        low, high = (scale * end for end in interval)
        spread = f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{scale * value:.{digits}f}{spread} ({len(cell.runs)})"


def run_table(sections: Sequence[Section]) -> str:
    """One row per cell, with its settings, notes and caveats; also for README and docs."""
    cells = [(s, d, name, cell) for s in sections for d in s.datasets for name, cell in d.cells.items()]
    head = "dataset | backbone | pixels | start | train / val / test | epochs | recipe | top-1 (%) | macro F1 (%) | NLL | training"
    rows = sorted(_run_table_row(*cell) for cell in cells)
    runs = [run for *_, cell in cells for run in cell.runs]
    machines = sorted({_machine(run) for run in runs})
    caveats = sorted({(run.dataset, i, caveat) for run in runs for i, caveat in enumerate(run.caveats)})
    by_protocol = {(s.setting.protocol, s.setting.chosen_on): s for s in reversed(sections)}
    notes = " ".join([*map(protocol_note, reversed(by_protocol.values())), SPREAD, SUBSETS])
    return "\n".join(
        [
            f"| {head} |",
            "|" + "---|" * (head.count("|") + 1),
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            notes,
            f"Machine: {'; '.join(machines)}.",
            "",
            *(f"- {_escape(dataset)}: {caveat}" for dataset, _, caveat in caveats),
        ]
    )


def _run_table_row(section: Section, dataset: DatasetResults, name: str, cell: Cell) -> tuple[str, ...]:
    setting, run = section.setting, cell.runs[0]
    conditions = ("subset" * setting.subset, "the paper's split" * (setting.split == "paper"), setting.train_size)
    other_data = setting.pretrained_on not in (SCRATCH, "ImageNet-1k")
    return (
        _escape(dataset.name) + "".join(f" ({condition})" for condition in conditions if condition),
        name,
        "x".join(map(str, run.size)),
        setting.regime + f" ({setting.pretrained_on})" * other_data,
        " / ".join(f"{n:,}" for n in run.images),
        str(run.epochs),
        _escape(run.recipe),
        format_score(cell, "top1"),
        format_score(cell, "macro_f1"),
        format_score(cell, "nll", 1, 3),
        f"{cell.cost('train_seconds'):.0f} s",
    )


def _machine(run: Run) -> str:
    threads = f"{run.threads} thread" + "s" * (run.threads != 1)
    return f"{run.machine}, {threads}, torch {run.versions['torch']}, {run.precision}"


def protocol_note(section: Section) -> str:
    protocol, chosen_on = section.setting.protocol, section.setting.chosen_on
    selected = "the penalty of a linear probe on frozen features" if protocol == "probe" else "the epoch"
    note = "; test is evaluated once" if chosen_on == "val" else ", which is optimistic"
    return f"Protocol `{protocol}`: {selected} is chosen on {PART_NAMES[chosen_on]}{note}."


def search_note(section: Section) -> str:
    """The search budget of every cell: whether all backbones had the same chance to be at their best."""
    cells: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # datasets by budget and backbone
    for name in section.backbones:
        for dataset in (d for d in section.datasets if name in d.cells):
            cells[dataset.cells[name].search_budget][name].append(dataset.name)
    if len(cells) == 1:
        return f"Search budget of every backbone: {next(iter(cells))}."

    def label(name: str, datasets: Sequence[str]) -> str:
        everywhere = len(datasets) == sum(name in dataset.cells for dataset in section.datasets)
        return name if everywhere else f"{name} on {' and '.join(datasets)}"

    listed = (f"{budget} ({', '.join(map(label, on, on.values()))})" for budget, on in sorted(cells.items()))
    return f"Search budgets differ: {'; '.join(listed)}."


def score_matrix(section: Section) -> str:
    """Datasets by backbones, with notes and caveats; numbers mark the setups that differ within a row."""
    names = section.backbones
    mixed = dict.fromkeys(setup for dataset in section.datasets if dataset.setups[1:] for setup in dataset.setups)
    marks = {setup: f"<sup>{i}</sup>" for i, setup in enumerate(mixed, 1)}
    lines = [
        "| dataset | metric | " + " | ".join(f"`{name}`" for name in names) + " |",
        "|" + "---|" * (len(names) + 2),
    ]
    for dataset in section.datasets:
        scores = ["missing" if name not in dataset.cells else _marked_score(dataset, name, marks) for name in names]
        lines.append(f"| {_escape(dataset.name)} | {METRICS[dataset.metric]} (%) | {' | '.join(scores)} |")
    lines += ["", f"{protocol_note(section)} {search_note(section)} {SPREAD}" + f" {SUBSETS}" * section.setting.subset]
    if marks:
        listed = "; ".join(f"{mark} {setup}" for setup, mark in marks.items())
        lines += ["", f"Size, epochs or recipe differ within a row: {listed}."]
    if caveats := [f"- {_escape(d.name)}: {caveat}" for d in section.datasets for caveat in d.caveats]:
        lines += ["", *caveats]
    return "\n".join(lines)


def _marked_score(dataset: DatasetResults, name: str, marks: Mapping[str, str]) -> str:
    cell = dataset.cells[name]
    return format_score(cell, dataset.metric) + (f" {marks[cell.setup]}" if dataset.setups[1:] else "")


def to_markdown(sections: Sequence[Section]) -> str:
    """All tables of a report."""
    parts = [f"## {section.setting.title}\n\n{score_matrix(section)}\n" for section in sections]
    return "\n".join(["# Results", "", *parts, "## All results", "", run_table(sections), ""])


def write_csv(path: Path, runs: Sequence[Run], sections: Sequence[Section]) -> None:
    """One line per run; `in_tables` marks the runs in the tables."""
    in_tables = {run.folder for s in sections for d in s.datasets for cell in d.cells.values() for run in cell.runs}
    costs = sorted({name for run in runs for name in run.cost})
    head = [
        "dataset", "fold", "split_file", "split", "fingerprint", "subset", "few", "classes", "train", "val", "test",
        "backbone", "start", "height", "width", "protocol", "chosen_on", "epochs", "seed", "in_tables", "metric",
        *(f"{metric}{end}" for metric in METRICS for end in ("", "_low", "_high")), *costs,
        "machine", "torch", "commit", "folder", "command", "recipe",
    ]  # fmt: skip
    with atomic_write(path, "-o") as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(head)
        for run in runs:
            setting = run.setting
            scores = [run.scores.get(metric, ("", None)) for metric in METRICS]
            row = [
                run.dataset, run.fold, run.split_file, setting.split, run.fingerprint, setting.subset, setting.train_size, run.classes, *run.images,
                run.backbone, setting.pretrained_on, *run.size, setting.protocol, setting.chosen_on, run.epochs, run.seed, run.folder in in_tables, run.metric,
                *(x for value, ends in scores for x in (value, *(ends or ("", "")))), *(run.cost.get(name, "") for name in costs),
                run.machine, run.versions.get("torch"), run.commit, str(run.folder), run.command, run.recipe,
            ]  # fmt: skip
            writer.writerow(escape(cell) if isinstance(cell, str) else cell for cell in row)


def _escape(name: str) -> str:
    return name.replace("|", "\\|")
