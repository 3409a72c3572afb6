"""Statistical comparison of backbones: ranks over datasets; within a dataset, paired tests and the posterior of the true scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from ..metrics import classification
from ..statistics import paired, posterior, ranks
from .predictions import Predictions
from .sections import DatasetResults, Section


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """D units and the K backbones that were run on all of them, best mean rank first."""

    units: tuple[str, ...]
    backbones: tuple[str, ...]
    scores: np.ndarray  # (D, K)
    mean_ranks: tuple[float, ...]  # 1 is best
    friedman: float  # p of "all backbones are equal"
    cd: float  # critical difference of mean ranks (Nemenyi, 5 %)
    cliques: tuple[tuple[int, ...], ...]  # positions of backbones whose ranks span at most `cd`
    against_first: Mapping[str, tuple[float, float, float]]  # by backbone: P(worse), P(equivalent), P(better)
    unranked: tuple[str, ...]  # backbones and datasets that are left out because cells are missing


@dataclass(frozen=True)
class Standing:
    """A backbone's probabilities if it is retrained and tested on new images (see statistics/posterior.py)."""

    p_best: float  # P(it is the best of the dataset)
    p_equivalent: float  # P(it is at most half a point below the best)
    regret: float  # expected loss against the best, in the metric's unit


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A backbone compared with the leader of a dataset: these trained networks, on the same test images."""

    backbone: str
    difference: paired.Difference  # its score minus the leader's, corrected for all pairs of backbones
    mcnemar: float  # p of McNemar's test on the first seeds, Holm-corrected for all pairs
    standing: Standing


@dataclass(frozen=True, kw_only=True)
class PairedTests:
    """The leader of a dataset against all others."""

    leader: str
    standing: Standing
    metric: str  # the metric compared
    images: int
    seeds: int  # the smallest number of any backbone
    comparisons: tuple[Comparison, ...]
    untested: str  # see `Predictions.why_untested`

    @property
    def tied(self) -> tuple[str, ...]:
        """Backbones that do not differ significantly from the leader at 5 %."""
        return tuple(c.backbone for c in self.comparisons if not c.difference.is_significant)


def rank_backbones(section: Section, domain: str | None = None) -> Ranking | None:
    """The ranking of a section, or of one domain; None if it has fewer than two complete datasets or backbones."""
    scores = _unit_scores([d for d in section.datasets if domain in (None, d.domain)])
    present = {(unit, name) for unit, cells in scores.items() for name in cells}
    all_names = sorted({name for _, name in present})
    units, names = _largest_complete(sorted(scores), all_names, present)
    if len(units) < 2 or len(names) < 2:
        return None
    table = np.array([[scores[unit][name] for name in names] for unit in units])
    mean = ranks.mean_ranks(table)
    order = np.argsort(mean, kind="stable")
    table, mean, names = table[:, order], mean[order], [names[i] for i in order]
    cd = ranks.nemenyi_cd(len(names), len(units))
    return Ranking(
        units=tuple(units),
        backbones=tuple(names),
        scores=table,
        mean_ranks=tuple(mean.tolist()),
        friedman=ranks.friedman(table)[1],
        cd=cd,
        cliques=tuple(tuple(clique) for clique in ranks.cliques(mean, cd)),
        against_first={
            name: paired.bayesian_signed_rank(table[:, k] - table[:, 0], posterior.MARGIN)
            for k, name in enumerate(names)
            if k
        },
        unranked=(*sorted(set(all_names) - set(names)), *sorted(set(scores) - set(units))),
    )


def paired_tests(dataset: DatasetResults, predictions: Predictions) -> PairedTests | None:
    """Compare the leader with every other backbone; None if fewer than two have predictions, or all images are of one group.

    The metric is the headline if it is a mean over images (see `Predictions.values`), else top-1.
    """
    if len(predictions.correct) < 2:
        return None
    supported = {"balanced_accuracy"} | ({"auroc"} if len(predictions.classes) == 2 else set())
    metric = dataset.metric if dataset.metric in supported else "top1"
    names = sorted(predictions.correct)
    runs = [predictions.values(name, metric) for name in names]
    values = np.stack([seeds.mean(0) for seeds in runs])
    leader = int(values.mean(1).argmax())
    groups = predictions.groups
    if groups is not None and len(np.unique(groups)) < 2:
        return None
    draws = paired.resample_means(values, groups=groups)  # the same images for all backbones
    standings, n = _standings(runs, groups), classification.effective_sample_size(metric, predictions.labels)
    differences = paired.differences_to(leader, values.mean(1), draws, n)
    mcnemar = _mcnemar([predictions.correct[name][0] for name in names], leader, groups)
    comparisons = [
        Comparison(backbone=names[k], difference=differences[k], mcnemar=mcnemar[k], standing=standings[k])
        for k in range(len(names))
        if k != leader
    ]
    return PairedTests(
        leader=names[leader],
        standing=standings[leader],
        metric=metric,
        images=len(predictions.labels),
        seeds=min(map(len, runs)),
        comparisons=tuple(sorted(comparisons, key=lambda c: -c.difference.difference)),
        untested=predictions.why_untested,
    )


def why_untested(predictions: Predictions | None) -> str:
    """Why there are no `paired_tests` of several backbones."""
    if predictions is None:
        return "no backbone has usable predictions (missing, damaged, NaN or infinite)"
    return predictions.why_untested or "all test images are of one group"


def _mcnemar(correct: Sequence[np.ndarray], leader: int, groups: np.ndarray | None) -> dict[int, float]:
    """{backbone: p of its difference to the leader}, Holm-corrected for all pairs. `correct`: (N,) bool of each."""
    pairs = list(combinations(range(len(correct)), 2))
    p = paired.holm([paired.mcnemar(correct[i], correct[j], groups) for i, j in pairs]).tolist()
    return {i + j - leader: value for (i, j), value in zip(pairs, p, strict=True) if leader in (i, j)}


def _standings(runs: Sequence[np.ndarray], groups: np.ndarray | None) -> list[Standing]:
    """One per backbone. `runs`: (S, N) values of each, S may differ; `groups`: (N,)."""
    scores = np.full((len(runs), max(map(len, runs)), runs[0].shape[1]), np.nan)
    for k, seeds in enumerate(runs):
        scores[k, : len(seeds)] = seeds
    draws = posterior.posterior(scores, groups=groups, point=0.01)
    columns = posterior.p_best(draws), posterior.p_equivalent(draws), posterior.expected_regret(draws)
    return [Standing(*map(float, row)) for row in zip(*columns, strict=True)]


def _unit_scores(datasets: Sequence[DatasetResults]) -> dict[str, dict[str, float]]:
    """{unit: {backbone: headline score}}: means over the datasets of a unit, for backbones that were run on all of them."""
    units: dict[str, list[DatasetResults]] = {}
    for dataset in datasets:
        units.setdefault(dataset.unit, []).append(dataset)
    return {
        unit: {
            name: float(np.mean([d.cells[name].value for d in members]))
            for name in sorted(set.intersection(*(set(d.cells) for d in members)))
        }
        for unit, members in units.items()
    }


def _largest_complete(units: list[str], names: list[str], present: set[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """A table without missing cells: repeatedly drop the unit or backbone with the largest missing fraction.

    Ties drop a unit while more than two are left, else a backbone.
    """
    while units and names:
        missing = {("unit", u): sum((u, n) not in present for n in names) / len(names) for u in units}
        missing |= {("name", n): sum((u, n) not in present for u in units) / len(units) for n in names}
        preferred = "unit" if len(units) > 2 else "name"
        kind, name = worst = max(missing, key=lambda key: (missing[key], key[0] == preferred))
        if not missing[worst]:
            break
        units = [u for u in units if (kind, name) != ("unit", u)]
        names = [n for n in names if (kind, name) != ("name", n)]
    return units, names
