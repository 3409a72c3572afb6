"""Accuracy against cost: what each backbone takes, and which give the most for it."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from .sections import Question, Section
from .verdicts import Ranking

Interval = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """A column of what a run records."""

    name: str
    short: str
    title: str
    scale: float  # from what is recorded to the title's unit
    more_is_better: bool = False
    measured: bool = True  # on a machine, so that two machines cannot be compared


COSTS = (
    Cost(name="macs", short="multiply-adds", title="multiply-adds per image (G)", scale=1e-9, measured=False),
    Cost(name="parameters", short="parameters", title="parameters (M)", scale=1e-6, measured=False),
    Cost(
        name="train_images_per_second",
        short="images/s",
        title="images per second, training",
        scale=1,
        more_is_better=True,
    ),
    Cost(name="peak_memory_bytes", short="memory", title="peak memory (GB)", scale=1e-9),
    Cost(name="train_seconds", short="time", title="seconds to train", scale=1),
    Cost(name="joules", short="energy", title="energy to train (kJ)", scale=1e-3),
)


@dataclass(frozen=True, kw_only=True)
class Tradeoff:
    """Scores against one cost."""

    cost: Cost
    over: tuple[str, ...]  # the datasets that scores and costs are means over
    points: Mapping[str, tuple[float, float, Interval]]  # by backbone: (cost, score, its interval)
    front: tuple[str, ...]  # of the cheapest first: nothing else is both cheaper and better


def tradeoffs(section: Section, ranking: Ranking | None) -> tuple[Tradeoff, ...]:
    """One per cost that all have recorded, on one machine if it was measured.

    Scores are means over the ranked datasets, costs geometric means; without a ranking they are those of the dataset that
    most backbones were run on.
    """
    questions = _questions(section, ranking)
    names = ranking.backbones if ranking else tuple(questions[0].cells)
    if len(names) < 2:
        return ()
    rows = [row for q in questions for name in names for row in q.cells[name].rows]
    one_machine = len({(row.machine, row.threads) for row in rows}) == 1
    found = []
    for cost in COSTS:
        prices = {name: [q.cells[name].cost(cost.name) for q in questions] for name in names}
        if (cost.measured and not one_machine) or not all(price for own in prices.values() for price in own):
            continue
        points = {
            name: (cost.scale * statistics.geometric_mean(own), *_score(questions, ranking, name))
            for name, own in prices.items()
        }
        front = _front({name: point[:2] for name, point in points.items()}, cost.more_is_better)
        over = ranking.units if ranking else (questions[0].name,)
        found.append(Tradeoff(cost=cost, over=over, points=points, front=front))
    return tuple(found)


def macs(section: Section, ranking: Ranking, name: str) -> float:
    """A backbone's multiply-adds per image, geometric mean over the ranked datasets (their pixels differ)."""
    return statistics.geometric_mean(q.cells[name].cost("macs") for q in _questions(section, ranking))


def _questions(section: Section, ranking: Ranking | None) -> list[Question]:
    if ranking:
        return [q for q in section.questions if q.unit in ranking.units]
    return [max(section.questions, key=lambda q: len(q.cells))]


def _score(questions: list[Question], ranking: Ranking | None, name: str) -> tuple[float, Interval]:
    if ranking:
        return float(ranking.scores[:, ranking.backbones.index(name)].mean()), None
    return questions[0].cells[name].score(questions[0].metric)


def _front(points: Mapping[str, tuple[float, float]], more_is_better: bool) -> tuple[str, ...]:
    """The backbones than which none is cheaper and as good, or as cheap and better."""
    price = {name: -cost if more_is_better else cost for name, (cost, _) in points.items()}
    front: list[str] = []
    for name in sorted(points, key=lambda name: (price[name], -points[name][1])):
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    return tuple(front)
