"""Analyses across settings: low data, selection on the test set."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..statistics.learning_curve import Gain
from .more_images import gain
from .runs import SCRATCH, Setting
from .sections import Cell, DatasetResults, Section

Curve = tuple[tuple[float, float], ...]


@dataclass(frozen=True, kw_only=True)
class LowData:
    """Scores against the number of training images."""

    dataset: str
    title: str  # the setting that the runs share
    metric: str
    curves: Mapping[str, Curve]  # by backbone (and protocol): (training images, score)
    crossovers: tuple[tuple[str, str, float | None], ...]  # backbone, protocol, images where it beats the probe
    gains: Mapping[str, Gain]  # of twice the images, by the names of the curves that are long enough


@dataclass(frozen=True, kw_only=True)
class Optimism:
    """The bias of a score whose epoch was selected on the test set."""

    dataset: str
    backbone: str
    best: float  # best epoch on test, as often published
    last: float  # last epoch
    clean: float | None  # epoch selected on validation (protocol clean); None if there is no such run


def low_data(sections: Sequence[Section]) -> tuple[LowData, ...]:
    """One per dataset that was trained with two or more numbers of images. Protocols are shown together, never ranked."""
    groups: dict[tuple, dict[tuple[str, str], dict[float, Cell]]] = defaultdict(lambda: defaultdict(dict))
    metrics: dict[tuple, str] = {}
    for section in sections:
        shared = replace(section.setting, train_size="", protocol="", chosen_on="")
        for dataset in section.datasets:
            key = (dataset.name, shared)
            metrics[key] = dataset.metric
            for name, cell in dataset.cells.items():
                images = statistics.mean(run.images[0] for run in cell.runs)
                groups[key][name, section.setting.protocol][images] = cell
    results = []
    for (dataset, shared), cells in groups.items():
        several = {key: by_images for key, by_images in cells.items() if len(by_images) > 1}
        if several:
            results.append(_low_data(dataset, shared, metrics[dataset, shared], several))
    return tuple(sorted(results, key=lambda low: (low.dataset, low.title)))


def _low_data(
    dataset: str, shared: Setting, metric: str, cells: Mapping[tuple[str, str], Mapping[float, Cell]]
) -> LowData:
    """`cells`: {(backbone, protocol): {training images: runs}}."""
    protocols = {protocol for _, protocol in cells}
    names = {(name, protocol): name + f" ({protocol})" * (len(protocols) > 1) for name, protocol in sorted(cells)}
    scores = {key: {images: cell.value for images, cell in cells[key].items()} for key in names}
    gains = {name: gain(cells[key], metric if metric == "balanced_accuracy" else "top1") for key, name in names.items()}
    start = shared.pretrained_on if shared.pretrained_on == SCRATCH else f"from {shared.pretrained_on}"
    return LowData(
        dataset=dataset,
        title=start + ", subset" * shared.subset,
        metric=metric,
        curves={name: tuple(sorted(scores[key].items())) for key, name in names.items()},
        crossovers=tuple(
            (name, protocol, _crossover(by_images, scores[name, "probe"]))
            for (name, protocol), by_images in scores.items()
            if protocol != "probe" and (name, "probe") in scores
        ),
        gains={name: found for name, found in gains.items() if found},
    )


def _crossover(scores: Mapping[float, float], probe: Mapping[float, float]) -> float | None:
    """The smallest number of images such that `scores` is above `probe` from there on; None if there is none."""
    smallest = None
    for images in sorted(set(scores) & set(probe), reverse=True):
        if scores[images] <= probe[images]:
            break
        smallest = images
    return smallest


def optimism(sections: Sequence[Section]) -> tuple[Optimism, ...]:
    """For every cell whose epoch was selected on test and that has the last epoch's score."""

    def key(section: Section, dataset: DatasetResults, backbone: str) -> tuple:
        return replace(section.setting, protocol="", chosen_on=""), dataset.name, backbone

    cells = [(s, d, name, cell) for s in sections for d in s.datasets for name, cell in d.cells.items()]
    clean = {key(s, d, name): cell.value for s, d, name, cell in cells if s.setting.protocol == "clean"}
    return tuple(
        Optimism(
            dataset=d.name,
            backbone=name,
            best=cell.value,
            last=statistics.mean(run.last for run in cell.runs),
            clean=clean.get(key(s, d, name)),
        )
        for s, d, name, cell in cells
        if s.setting.chosen_on == "test" and all(run.last is not None for run in cell.runs)
    )
