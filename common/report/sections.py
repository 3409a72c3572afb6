"""What may be compared with what: rows -> sections of questions (datasets) and cells (a backbone on one of them)."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .read import Row, Score, Terms


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A backbone on a dataset: runs that differ in their seed alone."""

    rows: tuple[Row, ...]  # one per seed
    others: int  # runs of the same backbone with other settings, or of the same seed again

    @property
    def value(self) -> float:
        """The headline, mean over seeds."""
        return self.score(self.rows[0].metric)[0]

    @property
    def unlike(self) -> str:
        """What its seeds do not share beside the seed."""
        found = {
            "precisions": sorted({row.precision for row in self.rows}),
            "micro-batch sizes": sorted({row.micro_bs for row in self.rows}),
        }
        several = [f"{name} {' and '.join(map(str, values))}" for name, values in found.items() if values[1:]]
        return f"its seeds were trained with {', '.join(several)}" if several else ""

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over seeds; None: there is one."""
        values = [row.scores[metric][0] for row in self.rows]
        return statistics.stdev(values) if len(values) > 1 else None

    def score(self, metric: str) -> Score:
        """Mean over seeds of a score, and of the ends of its interval over test images."""
        scores = [row.scores[metric] for row in self.rows]
        ends = [interval for _, interval in scores if interval]
        interval = tuple(map(statistics.mean, zip(*ends, strict=True))) if len(ends) == len(scores) else None
        return statistics.mean(value for value, _ in scores), interval

    def cost(self, name: str) -> float | None:
        """Mean over seeds; None: a run has not recorded it."""
        costs = [row.cost.get(name) for row in self.rows]
        return None if None in costs else statistics.mean(costs)


@dataclass(frozen=True)
class Test:
    """Test images of a dataset."""

    name: str  # "eurosat", "dtd fold 3" ...
    unit: str  # what counts once in rankings: BreakHis' magnifications, and the folds of a dataset, are one
    sheet: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """A dataset with its split, and every backbone's answer."""

    name: str  # see `Test`
    unit: str
    domain: str
    metric: str
    cells: Mapping[str, Cell]  # by backbone

    @property
    def caveats(self) -> tuple[str, ...]:
        of_runs = (c for cell in self.cells.values() for row in cell.rows for c in row.caveats)
        of_cells = (f"{name}: {cell.unlike}" for name, cell in self.cells.items() if cell.unlike)
        return tuple(dict.fromkeys([*of_runs, *of_cells]))

    @property
    def first(self) -> Row:
        return next(iter(self.cells.values())).rows[0]

    @property
    def leader(self) -> str:
        """The backbone with the highest headline score; of equal ones the first by name."""
        return max(sorted(self.cells), key=lambda name: self.cells[name].value)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Questions whose scores may stand in one table."""

    terms: Terms
    questions: tuple[Question, ...]

    @property
    def backbones(self) -> tuple[str, ...]:
        return tuple(sorted({name for question in self.questions for name in question.cells}))

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """(dataset, backbone) without a run."""
        return tuple((q.name, name) for q in self.questions for name in self.backbones if name not in q.cells)


def sections(rows: Sequence[Row], domains: Mapping[str, str]) -> tuple[Section, ...]:
    """All rows in their sections: all of train before little of it, whole datasets before subsets, large before small.

    `domains` tells the domain of a dataset.
    """
    worlds: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        worlds[row.terms.subset, row.terms.split].append(row)
    by_terms: dict[Terms, dict[Test, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for world in worlds.values():
        for test, members in _tests(world):
            for row in members:
                by_terms[row.terms][test].append(row)
    found = [Section(terms=terms, questions=_questions(tests, domains)) for terms, tests in by_terms.items()]

    def place(section: Section) -> tuple:
        terms, cells = section.terms, sum(len(q.cells) for q in section.questions)
        images = section.questions[0].first.images[0]
        whole = replace(terms, few="").title
        return bool(terms.few), terms.subset, len(section.backbones) < 2, -cells, whole, images

    return tuple(sorted(found, key=place))


def _tests(rows: Sequence[Row]) -> Iterator[tuple[Test, list[Row]]]:
    """Rows by what they were tested on, whose name is the same however they were trained."""
    by_test: dict[tuple, list[Row]] = defaultdict(list)
    for row in rows:
        key = row.sheet, row.dataset, row.fold or 0, row.split_file or "", row.classes, row.images[2]
        by_test[key].append(row)
    alike: dict[tuple, int] = defaultdict(int)  # how many tests would carry the same name
    for _, dataset, fold, file, *_ in by_test:
        alike[dataset, fold, file] += 1
    for (sheet, dataset, fold, file, classes, images), members in by_test.items():
        name = dataset + f" fold {fold}" * bool(fold) + f" (split of {file})" * bool(file)
        if alike[dataset, fold, file] > 1:
            name += f" ({classes} classes, {images:,} test images)"
        whole = not file and alike[dataset, fold, file] == 1
        unit = sheet.partition("-")[0] if whole and dataset == sheet else dataset if whole else name
        for images_of, own in _one_test(members):
            more = f" (test images {images_of})" * bool(images_of)
            yield Test(name + more, unit + more, sheet), own


def _questions(tests: Mapping[Test, Sequence[Row]], domains: Mapping[str, str]) -> tuple[Question, ...]:
    questions = [
        Question(
            name=test.name,
            unit=test.unit,
            domain=domains.get(test.sheet, "other"),
            metric=rows[0].metric,
            cells=_cells(rows),
        )
        for test, rows in tests.items()
    ]
    return tuple(sorted(questions, key=lambda q: (q.domain, q.name)))


def _one_test(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The rows as they are; or, where they were tested on other images under one name (two folders), by fingerprint.

    Older results do not tell on which: beside one set of images they are taken for runs on it, beside several for others.
    """
    if len({row.tested for row in rows} - {""}) < 2:
        return [("", list(rows))]
    tests = sorted({row.tested for row in rows})
    return [(one or "unknown", [row for row in rows if row.tested == one]) for one in tests]


def _cells(rows: Sequence[Row]) -> dict[str, Cell]:
    """By backbone. Of several settings the one that did best on validation: the test set chooses nothing here.

    Where no validation score tells (it was test that chose the epochs), the one with the most seeds.
    """
    variants: dict[str, dict[str, dict[int, Row]]] = defaultdict(lambda: defaultdict(dict))
    runs: dict[str, int] = defaultdict(int)
    for row in rows:
        seeds = variants[row.backbone][row.settings]
        if row.seed not in seeds or _goes_before(row, seeds[row.seed]):
            seeds[row.seed] = row
        runs[row.backbone] += 1

    def merit(variant: Mapping[int, Row]) -> tuple[float, int]:
        chosen = [row.chosen for row in variant.values()]
        return (0.0 if None in chosen else statistics.mean(chosen), len(variant))

    cells = {}
    for name in sorted(variants):
        best = max(variants[name].values(), key=merit)
        members = tuple(best[seed] for seed in sorted(best))
        cells[name] = Cell(rows=members, others=runs[name] - len(members))
    return cells


def _goes_before(row: Row, other: Row) -> bool:
    """Of the same seed again: the later one; of other number formats or pieces, the one that did better on validation."""
    if (row.precision, row.micro_bs) == (other.precision, other.micro_bs) or None in (
        row.chosen,
        other.chosen,
    ):
        return True
    return row.chosen >= other.chosen
