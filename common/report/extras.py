"""What only some results can tell: few images, learning rates, and choosing on the test set."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .read import SCRATCH
from .sections import Cell, Question, Section

PAPER_LR = 1e-3  # the paper's, for every backbone


@dataclass(frozen=True, kw_only=True)
class LowData:
    """Scores against the number of training images."""

    dataset: str
    title: str  # what the runs share
    metric: str
    lines: Mapping[str, tuple[tuple[float, float], ...]]  # by backbone (and protocol): (images, score)
    overtakes: tuple[
        tuple[str, str, float | None], ...
    ]  # backbone, protocol, images from which it beats the probe


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Scores on validation against the learning rate, as the search saw them when all rates were still in it."""

    lines: Mapping[str, tuple[tuple[float, float], ...]]  # by backbone: (rate, score), means over seeds
    regret: Mapping[str, float]  # of `PAPER_LR`: what it scores less than the best rate


@dataclass(frozen=True, kw_only=True)
class Optimism:
    """What choosing the epoch on the test set adds to a score."""

    dataset: str
    backbone: str
    best: float  # the highest of all epochs: the number that is published
    last: float  # after the last epoch
    clean: float | None  # the epoch chosen on validation, protocol clean; None: no such run


def low_data(sections: Sequence[Section]) -> tuple[LowData, ...]:
    """One per dataset that was learned from two or more numbers of images; protocols side by side, never ranked."""
    groups: dict[tuple, dict[tuple[str, str], dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    metrics: dict[tuple, str] = {}
    for section in sections:
        shared = replace(section.terms, few="", protocol="", chosen_on="")
        for question in section.questions:
            key = (question.name, shared)
            metrics[key] = question.metric
            for name, cell in question.cells.items():
                images = statistics.mean(row.images[0] for row in cell.rows)
                groups[key][name, section.terms.protocol][images] = cell.value
    found = []
    for (dataset, shared), lines in groups.items():
        lines = {key: line for key, line in lines.items() if len(line) > 1}
        if not lines:
            continue
        protocols = {protocol for _, protocol in lines}
        begin = shared.start if shared.start == SCRATCH else f"from {shared.start}"
        found.append(
            LowData(
                dataset=dataset,
                title=", ".join([begin, *(["subset"] * shared.subset)]),
                metric=metrics[dataset, shared],
                lines={
                    name + f" ({protocol})" * (len(protocols) > 1): tuple(sorted(line.items()))
                    for (name, protocol), line in sorted(lines.items())
                },
                overtakes=tuple(
                    (name, protocol, _overtakes(line, lines[name, "probe"]))
                    for (name, protocol), line in sorted(lines.items())
                    if protocol != "probe" and (name, "probe") in lines
                ),
            )
        )
    return tuple(sorted(found, key=lambda low: (low.dataset, low.title)))


def _overtakes(line: Mapping[float, float], probe: Mapping[float, float]) -> float | None:
    """The number of images from which on `line` is above `probe`, of those that both have; None: never."""
    start = None
    for images in sorted(set(line) & set(probe), reverse=True):
        if line[images] <= probe[images]:
            break
        start = images
    return start


def sensitivity(question: Question) -> Sensitivity | None:
    """None: no backbone searched for its learning rate on this dataset."""
    lines = {name: line for name, cell in question.cells.items() if (line := _searched(cell))}
    scores = {name: dict(line) for name, line in lines.items()}
    regret = {name: max(own.values()) - own[PAPER_LR] for name, own in scores.items() if PAPER_LR in own}
    return Sensitivity(lines=lines, regret=regret) if lines else None


def _searched(cell: Cell) -> tuple[tuple[float, float], ...]:
    tried: dict[float, list[float]] = defaultdict(list)
    for row in cell.rows:
        first = min(
            (steps for _, steps, _ in row.lr_search), default=0
        )  # later, only the better half goes on
        for rate, steps, score in row.lr_search:
            if steps == first and score is not None:  # the loss was a number
                tried[rate].append(score)
    return tuple((rate, statistics.mean(scores)) for rate, scores in sorted(tried.items()))


def optimism(sections: Sequence[Section]) -> tuple[Optimism, ...]:
    """Of every cell whose epoch was chosen on test and that kept the last epoch's score."""
    clean = {
        (replace(s.terms, protocol="", chosen_on=""), q.name, name): cell.value
        for s in sections
        if s.terms.protocol == "clean"
        for q in s.questions
        for name, cell in q.cells.items()
    }
    return tuple(
        Optimism(
            dataset=q.name,
            backbone=name,
            best=cell.value,
            last=statistics.mean(row.last for row in cell.rows),
            clean=clean.get((replace(s.terms, protocol="", chosen_on=""), q.name, name)),
        )
        for s in sections
        if s.terms.chosen_on == "test"
        for q in s.questions
        for name, cell in q.cells.items()
        if all(row.last is not None for row in cell.rows)
    )
