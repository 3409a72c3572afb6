"""The findings of `check`, as lines and as a CSV file."""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files.atomic import atomic_write
from ...files.csv_text import escape
from ...spec import PARTS, Dataset, Preprocess, Samples
from ..readers.layout import format_layout

SEED = 0  # of the validation split; the default of a run


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A finding about one image; those with the same `set` belong together."""

    kind: str
    position: int
    detail: str
    set: int | None = None
    serious: bool = False  # stops a run or biases its result


@dataclass(frozen=True, kw_only=True)
class Report:
    dataset: Dataset
    samples: Samples
    parts: Sequence[str]  # of a run with the default seed; "": none
    preprocess: Preprocess  # with the value range
    baselines: tuple[str, ...]  # lines with their scores, see `shortcuts`
    errors: tuple[str, ...]  # that would stop a run
    caveats: tuple[str, ...]  # of the split
    problems: tuple[Problem, ...]

    @property
    def readable(self) -> list[int]:
        """The positions of the images that can be read."""
        unreadable = {problem.position for problem in self.problems if problem.kind == "unreadable"}
        return [i for i in range(len(self.samples)) if i not in unreadable]


def summary(report: Report) -> list[str]:
    """The report in a few lines; the last one is the conclusion."""
    dataset, samples = report.dataset, report.samples
    present = Counter(report.parts)
    parts = ", ".join(f"{present[p]:,} {p}" for p in PARTS if present[p]) or "no split"
    origin = "" if samples.parts or parts == "no split" else f" (our split, validation with seed {SEED})"
    sizes = Counter(samples.classes[label] for label in samples.labels).most_common()
    (large, most), (small, least) = sizes[0], sizes[-1]
    spread = f"{least:,} ({small}) to {most:,} images ({large}), ratio 1:{most / least:.1f}"
    kinds = dict.fromkeys(p.kind for p in report.problems)
    serious = [kind for kind in kinds if any(p.serious for p in report.problems if p.kind == kind)]
    findings = [*serious, *(["counts"] if report.errors else [])]
    return [
        f"{dataset.title}: {len(samples):,} images of {len(sizes)} classes; {parts}{origin}",
        *(f"layout: {line}" for line in ["; ".join(format_layout(samples))] if line),
        f"classes: {spread if least < most else f'{most:,} images each'}",
        *_pixels(report.preprocess),
        *(f"counts: {error}" for error in report.errors),
        *(_line(kind, [p for p in report.problems if p.kind == kind], samples) for kind in kinds),
        *report.baselines,
        *(f"caveat: {caveat}" for caveat in (*dataset.caveats, *report.caveats)),
        f"summary: {'serious: ' + ', '.join(findings) if findings else 'no serious problems found'}",
    ]


def _pixels(preprocess: Preprocess) -> Iterator[str]:
    if preprocess.value_range:
        low, high = preprocess.value_range
        yield f"pixels: values {low:g} to {high:g} become 0 to 255 (--value_range LOW HIGH overrides)"
    if preprocess.bands:
        yield f"pixels: bands {' '.join(map(str, preprocess.bands))} are red, green and blue"


def _line(kind: str, problems: Sequence[Problem], samples: Samples) -> str:
    """The number of findings and of serious ones, and the first, a serious one if there is any."""
    sets = {p.set for p in problems if p.set}
    serious_sets = {p.set for p in problems if p.set and p.serious}
    first = next((p for p in problems if p.serious), problems[0])
    detail = f" ({first.detail})" if first.detail else ""
    count = f"{len(problems):,} {'images' if len(problems) > 1 else 'image'}"
    if sets:
        count += f" in {len(sets):,} {'sets' if len(sets) > 1 else 'set'}"
        count += f", {len(serious_sets):,} across parts or labels" if serious_sets else ""
    return f"{kind}: {count}; first {samples.names[first.position]}{detail}"


def write(path: Path, report: Report) -> None:
    """Write a CSV row per problem."""
    samples = report.samples
    with atomic_write(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("problem", "set", "path", "label", "part", "detail"))
        for p in report.problems:
            label = samples.classes[samples.labels[p.position]]
            part_of = report.parts[p.position]
            texts = map(escape, (samples.names[p.position], label, part_of, p.detail))
            rows.writerow((p.kind, p.set or "", *texts))
