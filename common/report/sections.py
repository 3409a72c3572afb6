"""Runs -> sections of comparable results: a table of cells, datasets by backbones."""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .runs import Run, Score, Setting


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A backbone on a dataset: runs that differ only in their seed."""

    runs: tuple[Run, ...]  # one per seed
    settings: int  # hyperparameters of the backbone, of which these are the best on validation
    excluded: int  # other runs of the backbone: of other hyperparameters, or repeats of a seed
    same: tuple[
        tuple[int, int], ...
    ]  # (seed, earlier seed) of the same scores: one run, such as a probe of a given split

    @property
    def value(self) -> float:
        """The headline score, mean over seeds."""
        return self.score(self.runs[0].metric)[0]

    @property
    def setup(self) -> str:
        """Image size, epochs, and what is special about the recipe (see `recorded_recipe.describe_recipe`)."""
        run = self.runs[0]
        height, width = run.size
        epochs = "" if run.setting.protocol == "probe" else f", {run.epochs} epochs"
        return f"{height}x{width}{epochs}" + f", {run.recipe}" * bool(run.recipe)

    @property
    def search_budget(self) -> str:
        """How many settings were run, and where the learning rate is from."""
        count = f"the best of {self.settings} settings on validation"
        if None in (run.val_score for run in self.runs):
            count = f"of {self.settings} settings the one with the most seeds"
        return ", ".join(filter(None, (count if self.settings > 1 else "one setting", self.runs[0].rate)))

    @property
    def caveats(self) -> tuple[str, ...]:
        """Differences between the runs besides their seed, and seeds that are the same run."""
        values = {
            "precisions": sorted({run.precision for run in self.runs}),
            "micro-batch sizes": sorted({run.micro_bs for run in self.runs}),
        }
        several = [f"{name} {' and '.join(map(str, different))}" for name, different in values.items() if different[1:]]
        lines = [f"its seeds were trained with {', '.join(several)}"] if several else []
        return *lines, *(f"seeds {first} and {seed} have the same scores: one run" for seed, first in self.same)

    def deviation(self, metric: str) -> float | None:
        """Standard deviation over seeds; None for a single seed."""
        values = [run.scores[metric][0] for run in self.runs]
        return statistics.stdev(values) if len(values) > 1 else None

    def score(self, metric: str) -> Score:
        """The score and the bounds of its interval over test images, means over seeds."""
        scores = [run.scores[metric] for run in self.runs]
        ends = [interval for _, interval in scores if interval]
        interval = tuple(map(statistics.mean, zip(*ends, strict=True))) if len(ends) == len(scores) else None
        return statistics.mean(value for value, _ in scores), interval

    def cost(self, name: str) -> float | None:
        """Mean over seeds; None if a run did not record it."""
        costs = [run.cost.get(name) for run in self.runs]
        return None if None in costs else statistics.mean(costs)


@dataclass(frozen=True)
class TestSet:
    """The test images that runs were evaluated on."""

    name: str  # "eurosat", "dtd fold 3" ...
    unit: str  # datasets of one unit count once in rankings: BreakHis' magnifications, a dataset's folds
    sheet: str


@dataclass(frozen=True, kw_only=True)
class DatasetResults:
    """A row of a section's table: the results of all backbones on one test set."""

    name: str  # these three: see `TestSet`
    unit: str
    domain: str
    metric: str
    cells: Mapping[str, Cell]  # by backbone

    @property
    def caveats(self) -> tuple[str, ...]:
        of_runs = (c for cell in self.cells.values() for run in cell.runs for c in run.caveats)
        of_cells = (f"{name}: {caveat}" for name, cell in self.cells.items() for caveat in cell.caveats)
        return tuple(dict.fromkeys([*of_runs, *of_cells]))

    @property
    def setups(self) -> tuple[str, ...]:
        """The different `Cell.setup`."""
        return tuple(sorted({cell.setup for cell in self.cells.values()}))

    @property
    def first(self) -> Run:
        return next(iter(self.cells.values())).runs[0]

    @property
    def leader(self) -> str:
        """The backbone with the highest headline score; on ties the first by name."""
        return max(sorted(self.cells), key=lambda name: self.cells[name].value)


@dataclass(frozen=True, kw_only=True)
class Section:
    """Results that may be compared in one table."""

    setting: Setting
    datasets: tuple[DatasetResults, ...]

    @property
    def backbones(self) -> tuple[str, ...]:
        return tuple(sorted({name for dataset in self.datasets for name in dataset.cells}))

    @property
    def missing(self) -> tuple[tuple[str, str], ...]:
        """(dataset, backbone) without a run."""
        return tuple((d.name, name) for d in self.datasets for name in self.backbones if name not in d.cells)


def build_sections(runs: Sequence[Run], domains: Mapping[str, str]) -> tuple[Section, ...]:
    """All runs, by setting: full training sets before low data, complete datasets before subsets, large before small.

    `domains`: {data sheet: domain}.
    """
    by_split: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        by_split[run.setting.subset, run.setting.split].append(run)
    by_setting: dict[Setting, dict[TestSet, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for members in by_split.values():
        for test_set, tested in _test_sets(members):
            for run in tested:
                by_setting[run.setting][test_set].append(run)
    sections = [Section(setting=setting, datasets=_datasets(sets, domains)) for setting, sets in by_setting.items()]

    def order(section: Section) -> tuple:
        setting, cells = section.setting, sum(len(dataset.cells) for dataset in section.datasets)
        images = section.datasets[0].first.images[0]
        title = replace(setting, train_size="").title
        return bool(setting.train_size), setting.subset, len(section.backbones) < 2, -cells, title, images

    return tuple(sorted(sections, key=order))


def _test_sets(runs: Sequence[Run]) -> Iterator[tuple[TestSet, list[Run]]]:
    """Runs by test set. A test set has the same name in all settings."""
    groups: dict[tuple, list[Run]] = defaultdict(list)
    for run in runs:
        key = run.sheet, run.dataset, run.fold or 0, run.split_file or "", run.classes, run.images[2]
        groups[key].append(run)
    namesakes: dict[tuple, int] = defaultdict(int)
    for _, dataset, fold, file, *_ in groups:
        namesakes[dataset, fold, file] += 1
    for (sheet, dataset, fold, file, classes, images), members in groups.items():
        name = dataset + f" fold {fold}" * bool(fold) + f" (split of {file})" * bool(file)
        unique = namesakes[dataset, fold, file] == 1
        if not unique:
            name += f" ({classes} classes, {images:,} test images)"
        unit = name
        if unique and not file:
            unit = sheet.partition("-")[0] if dataset == sheet else dataset
        for fingerprint, tested in _by_fingerprint(members):
            suffix = f" (test images {fingerprint})" * bool(fingerprint)
            yield TestSet(name + suffix, unit + suffix, sheet), tested


def _by_fingerprint(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Runs by the fingerprint of their test images; ("", all runs) if there is only one.

    Older results have no fingerprint: with a single other fingerprint they count as the same, with several as "unknown".
    """
    fingerprints = sorted({run.test_fingerprint for run in runs})
    if len(set(fingerprints) - {""}) < 2:
        return [("", list(runs))]
    return [(f or "unknown", [run for run in runs if run.test_fingerprint == f]) for f in fingerprints]


def _datasets(test_sets: Mapping[TestSet, Sequence[Run]], domains: Mapping[str, str]) -> tuple[DatasetResults, ...]:
    datasets = [
        DatasetResults(
            name=test_set.name,
            unit=test_set.unit,
            domain=domains.get(test_set.sheet, "other"),
            metric=runs[0].metric,
            cells=build_cells(runs),
        )
        for test_set, runs in test_sets.items()
    ]
    return tuple(sorted(datasets, key=lambda dataset: (dataset.domain, dataset.name)))


def build_cells(runs: Sequence[Run]) -> dict[str, Cell]:
    """By backbone. Of several hyperparameters, those with the best validation score are shown, never the best on test.

    Without validation scores (test selected the epochs), those with the most seeds.
    """
    variants: dict[str, dict[str, dict[int, Run]]] = defaultdict(lambda: defaultdict(dict))
    counts: dict[str, int] = defaultdict(int)
    for run in runs:
        seeds = variants[run.backbone][run.hyperparameters]
        if run.seed not in seeds or _supersedes(run, seeds[run.seed]):
            seeds[run.seed] = run
        counts[run.backbone] += 1

    def quality(variant: Sequence[Run]) -> tuple[float, int]:
        scores = [run.val_score for run in variant]
        return (0.0 if None in scores else statistics.mean(scores), len(variant))

    cells = {}
    for name in sorted(variants):
        members, same = max(
            (_distinct(seeds) for seeds in variants[name].values()), key=lambda found: quality(found[0])
        )
        excluded = counts[name] - len(members) - len(same)
        cells[name] = Cell(runs=members, settings=len(variants[name]), excluded=excluded, same=same)
    return cells


def _distinct(seeds: Mapping[int, Run]) -> tuple[tuple[Run, ...], tuple[tuple[int, int], ...]]:
    """Runs by seed, without those whose test scores are all an earlier one's, and the seeds of these, see `Cell.same`."""
    runs: dict[tuple, Run] = {}
    same = []
    for seed in sorted(seeds):
        first = runs.setdefault(tuple(value for value, _ in seeds[seed].scores.values()), seeds[seed])
        if first.seed != seed:
            same.append((seed, first.seed))
    return tuple(runs.values()), tuple(same)


def _supersedes(run: Run, earlier: Run) -> bool:
    """Whether a repeat of a seed replaces the earlier run.

    It does, unless it has another precision or micro-batch size and a lower validation score.
    """
    if (run.precision, run.micro_bs) == (earlier.precision, earlier.micro_bs):
        return True
    return None in (run.val_score, earlier.val_score) or run.val_score >= earlier.val_score
