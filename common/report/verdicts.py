"""How sure: ranks over datasets, practical equivalence, paired tests within a dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..statistics import paired, ranks
from .predictions import Predictions
from .sections import Question, Section

SURE = 0.8  # probability from which the answer calls two backbones equivalent


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Backbones over datasets on which all of them were run: D units, K backbones in the order of their ranks."""

    units: tuple[str, ...]
    backbones: tuple[str, ...]
    scores: np.ndarray  # (D, K)
    mean_ranks: tuple[float, ...]  # 1 is best
    friedman: float  # p that all are alike
    cd: float  # mean ranks that are nearer than this cannot be told apart (Nemenyi, 5 %)
    cliques: tuple[tuple[int, ...], ...]  # positions of backbones that cannot be told apart
    versus: Mapping[str, tuple[float, float, float]]  # by backbone: P(worse than the first, alike, better)
    unranked: tuple[str, ...]  # backbones and datasets left out for their missing cells


@dataclass(frozen=True, kw_only=True)
class Duel:
    """The leader of a dataset against another backbone, on the same test images."""

    backbone: str
    difference: paired.Difference  # the other's score less the leader's
    p: float  # of the paired bootstrap, Holm-corrected over the dataset's duels
    mcnemar: float  # p of the first seeds' right answers, Holm-corrected likewise
    best: float  # P(this backbone is the best of the dataset)


@dataclass(frozen=True, kw_only=True)
class Duels:
    leader: str
    best: float  # P(the leader is the best)
    metric: str  # that was compared
    images: int
    others: tuple[Duel, ...]

    @property
    def tied(self) -> tuple[str, ...]:
        """Backbones that the test does not tell from the leader at 5 %."""
        return tuple(duel.backbone for duel in self.others if duel.p >= 0.05)


def ranking(section: Section, domain: str | None = None) -> Ranking | None:
    """Ranks within a section, or a domain of it; None: fewer than two datasets or backbones can be ranked."""
    scores = _unit_scores([q for q in section.questions if domain in (None, q.domain)])
    there = {(unit, name) for unit, cells in scores.items() for name in cells}
    units, names = _complete(sorted(scores), sorted({name for _, name in there}), there)
    if len(units) < 2 or len(names) < 2:
        return None
    table = np.array([[scores[unit][name] for name in names] for unit in units])
    mean = ranks.mean_ranks(table)
    order = np.argsort(mean, kind="stable")
    table, mean, names = table[:, order], mean[order], [names[i] for i in order]
    cd = ranks.nemenyi_cd(len(names), len(units))
    everybody = {name for _, name in there}
    return Ranking(
        units=tuple(units),
        backbones=tuple(names),
        scores=table,
        mean_ranks=tuple(mean.tolist()),
        friedman=ranks.friedman(table)[1],
        cd=cd,
        cliques=tuple(tuple(clique) for clique in ranks.cliques(mean, cd)),
        versus={
            name: paired.bayesian_signed_rank(table[:, k] - table[:, 0], paired.MARGIN)
            for k, name in enumerate(names)
            if k
        },
        unranked=tuple(sorted(everybody - set(names)) + sorted(set(scores) - set(units))),
    )


def duels(question: Question, seen: Predictions) -> Duels | None:
    """The leader against every other; None: fewer than two backbones have predictions.

    The headline is compared where images have a share in it, else top-1.
    """
    if len(seen.right) < 2:
        return None
    shared = {"balanced_accuracy"} | ({"auroc"} if len(seen.classes) == 2 else set())
    metric = question.metric if question.metric in shared else "top1"
    names = sorted(seen.right)
    values = np.stack([seen.values(name, metric) for name in names])
    first = int(values.mean(1).argmax())
    draws = paired.resample_means(values)  # the same for all
    best = paired.share_best(draws)
    others = [k for k in range(len(names)) if k != first]
    differences = [
        paired.difference(values[k].mean() - values[first].mean(), draws[:, k] - draws[:, first])
        for k in others
    ]
    ps = paired.holm([d.p for d in differences])
    mcnemar = paired.holm(
        [paired.mcnemar(seen.right[names[k]][0], seen.right[names[first]][0]) for k in others]
    )
    found = [
        Duel(backbone=names[k], difference=d, p=float(p), mcnemar=float(m), best=float(best[k]))
        for k, d, p, m in zip(others, differences, ps, mcnemar, strict=True)
    ]
    return Duels(
        leader=names[first],
        best=float(best[first]),
        metric=metric,
        images=len(seen.labels),
        others=tuple(sorted(found, key=lambda duel: -duel.difference.difference)),
    )


def _unit_scores(questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """{unit: {backbone: headline}}: a mean over the questions of the unit, only where none is missing."""
    units: dict[str, list[Question]] = {}
    for question in questions:
        units.setdefault(question.unit, []).append(question)
    return {
        unit: {
            name: float(np.mean([q.cells[name].value for q in members]))
            for name in sorted(set.intersection(*(set(q.cells) for q in members)))
        }
        for unit, members in units.items()
    }


def _complete(units: list[str], names: list[str], there: set[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """A part of the table without holes: the row or column that misses the largest share goes, until none does.

    Of equals a dataset goes, but two are the least to rank over: then a backbone.
    """
    while True:
        holes = {("unit", u): sum((u, n) not in there for n in names) / len(names) for u in units}
        holes |= {("name", n): sum((u, n) not in there for u in units) / len(units) for n in names}
        rather = "unit" if len(units) > 2 else "name"
        worst = max(holes, key=lambda key: (holes[key], key[0] == rather), default=None)
        if worst is None or not holes[worst]:
            return units, names
        kind, name = worst
        units = [u for u in units if (kind, name) != ("unit", u)]
        names = [n for n in names if (kind, name) != ("name", n)]
        if not (units and names):
            return units, names
