"""Accuracy against cost: Pareto fronts."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from .sections import DatasetResults, Section
from .significance import Ranking

Interval = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A cost recorded by runs."""

    name: str
    short: str
    title: str
    scale: float = 1  # from the recorded unit to that of the title
    more_is_better: bool = False
    measured: bool = True  # depends on the machine, so comparable on one machine only


COSTS = (
    Cost(name="macs", short="multiply-adds", title="multiply-adds per image (G)", scale=1e-9, measured=False),
    Cost(name="parameters", short="parameters", title="parameters (M)", scale=1e-6, measured=False),
    Cost(name="train_images_per_second", short="images/s", title="training images per second", more_is_better=True),
    Cost(name="peak_memory_bytes", short="memory", title="peak memory (GB)", scale=1e-9),
    Cost(name="train_seconds", short="time", title="seconds to train"),
    Cost(name="joules", short="energy", title="energy to train (kJ)", scale=1e-3),
)


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """Scores against one cost."""

    cost: Cost
    datasets: tuple[str, ...]  # scores and costs are means over these
    points: Mapping[str, tuple[float, float, Interval]]  # by backbone: (cost, score, its interval)
    front: tuple[str, ...]  # Pareto-optimal backbones, the cheapest first


def tradeoffs(section: Section, ranking: Ranking | None) -> tuple[Tradeoff, ...]:
    """One per cost that all runs record, on a single machine if it depends on the machine.

    Over the ranked datasets, scores are means and costs geometric means; without a ranking they are those of the
    dataset with the most backbones.
    """
    datasets = _compared_datasets(section, ranking)
    names = ranking.backbones if ranking else tuple(datasets[0].cells)
    if len(names) < 2:
        return ()
    runs = [run for dataset in datasets for name in names for run in dataset.cells[name].runs]
    one_machine = len({(run.machine, run.threads) for run in runs}) == 1
    results = []
    for cost in COSTS:
        values = {name: [dataset.cells[name].cost(cost.name) for dataset in datasets] for name in names}
        complete = all(value for recorded in values.values() for value in recorded)
        if (cost.measured and not one_machine) or not complete:
            continue
        points = {
            name: (cost.scale * statistics.geometric_mean(recorded), *_score(datasets, ranking, name))
            for name, recorded in values.items()
        }
        front = _pareto_front({name: point[:2] for name, point in points.items()}, cost.more_is_better)
        compared = ranking.units if ranking else (datasets[0].name,)
        results.append(Tradeoff(cost=cost, datasets=compared, points=points, front=front))
    return tuple(results)


def mean_macs(section: Section, ranking: Ranking, name: str) -> float:
    """A backbone's multiply-adds per image, geometric mean over the ranked datasets (their image sizes differ)."""
    datasets = _compared_datasets(section, ranking)
    return statistics.geometric_mean(dataset.cells[name].cost("macs") for dataset in datasets)


def _compared_datasets(section: Section, ranking: Ranking | None) -> list[DatasetResults]:
    if ranking:
        return [dataset for dataset in section.datasets if dataset.unit in ranking.units]
    return [max(section.datasets, key=lambda dataset: len(dataset.cells))]


def _score(datasets: list[DatasetResults], ranking: Ranking | None, name: str) -> tuple[float, Interval]:
    if ranking:
        return float(ranking.scores[:, ranking.backbones.index(name)].mean()), None
    return datasets[0].cells[name].score(datasets[0].metric)


def _pareto_front(points: Mapping[str, tuple[float, float]], more_is_better: bool) -> tuple[str, ...]:
    """Backbones that no other dominates: at least equal in cost and score, and better in one."""
    costs = {name: -cost if more_is_better else cost for name, (cost, _) in points.items()}
    front: list[str] = []
    for name in sorted(points, key=lambda name: (costs[name], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return tuple(front)
