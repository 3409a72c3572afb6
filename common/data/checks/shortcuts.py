"""Find shortcuts: file metadata that gives a class away, so that a network need not see the object.

Serious: the headers alone predict the class far better than chance, or nearly all images of one class, and nearly no
others, share a value. Bytes per pixel do not count, because they depend on what an image shows: a forest compresses
worse than a lake.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...spec import Samples
from .baselines import MIN_FIT, encode_metadata, extra_trees
from .file_metadata import BYTES_PER_PIXEL, Metadata, read_metadata
from .image_stats import ImageStats
from .report import SEED, Problem

if TYPE_CHECKING:
    import numpy as np

MAX_IMAGES = 2000  # sampled
FOLDS = 5
SKILL = 0.2  # serious: at least this fraction of the way from chance to 100 %, two standard errors below the estimate
NEARLY_ALL, MIN_IMAGES = 0.95, 10  # serious: of a class with this many images


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """Cross-validated balanced accuracies of predictions without the object."""

    n: int  # images
    folds: int
    n_classes: int
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class _Association:
    """How much more often the images of one class have a value than the others."""

    field: str
    value: str
    label: int
    of_class: float
    of_others: float

    @property
    def difference(self) -> float:
        return self.of_class - self.of_others

    def text(self, classes: Sequence[str], other: str | None) -> str:
        """`other`: the value of nearly all other images, if there is one."""
        return (
            f"{_share(self.of_class)} of `{classes[self.label]}` have {self.field} {self.value}, "
            f"{_share(self.of_others)} of the others{f', which have {other}' if other else ''}"
        )


def find_shortcuts(samples: Samples, readable: Mapping[int, ImageStats]) -> tuple[Baselines | None, list[Problem]]:
    """The scores of the baselines on a sample of the readable images, and a problem per image of the class given away.

    None: there are fewer than `MIN_FIT` images, or fewer than two classes have two images.
    """
    import numpy as np

    positions = sorted(random.Random(SEED).sample(list(readable), min(len(readable), MAX_IMAGES)))
    counts = Counter(samples.labels[i] for i in positions)
    positions = [i for i in positions if counts[samples.labels[i]] > 1]
    labels = np.array([samples.labels[i] for i in positions])
    _, counts = np.unique(labels, return_counts=True)
    if len(counts) < 2:
        return None, []
    files = read_metadata([samples.images[i] for i in positions]) if isinstance(samples.images, list) else []
    headers = [{k: v for k, v in file.items() if k != BYTES_PER_PIXEL} for file in files]
    best = max(_associations(headers, labels), key=lambda s: s.difference, default=None)
    serious = best is not None and _exclusive(best, labels)
    baselines = None
    if len(positions) >= MIN_FIT:
        features = {"file metadata": encode_metadata(files)} if files else {}
        features["border pixels"] = np.stack([readable[i].border for i in positions])
        features["colours"] = np.stack([readable[i].colours for i in positions])
        n_folds = min(FOLDS, int(counts.min()))
        baselines = Baselines(
            n=len(positions),
            folds=n_folds,
            n_classes=len(counts),
            scores={name: _balanced_accuracy(x, labels, n_folds)[0] for name, x in features.items()},
        )
        if best and not serious:
            score, error = _balanced_accuracy(encode_metadata(headers), labels, n_folds)
            chance = 1 / len(counts)
            serious = score - 2 * error > chance + SKILL * (1 - chance)
    return baselines, list(_problems(best, samples, positions, headers)) if serious else []


def _balanced_accuracy(features: "np.ndarray", labels: "np.ndarray", n_folds: int) -> tuple[float, float]:
    """The mean recall of the classes in cross-validation, and its standard error."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(n_folds, shuffle=True, random_state=SEED)
    predicted = cross_val_predict(extra_trees("balanced"), features, labels, cv=folds)
    hits, n = (np.bincount(labels, weights) for weights in (predicted == labels, None))
    hits, n = hits[n > 0], n[n > 0]
    smoothed = (hits + 1) / (n + 2)  # never an error of 0
    return (hits / n).mean(), np.sqrt((smoothed * (1 - smoothed) / (n + 2)).sum()) / len(n)


def _associations(headers: Sequence[Metadata], labels: "np.ndarray") -> Iterator[_Association]:
    """About every class and every value; of numbers, above and up to each decile."""
    import numpy as np

    n = np.bincount(labels)
    for (field, value), holds in _indicators(headers).items():
        having = np.bincount(labels, holds, len(n))
        for label in np.flatnonzero(n):
            yield _Association(
                field=field,
                value=value,
                label=int(label),
                of_class=having[label] / n[label],
                of_others=(having.sum() - having[label]) / (n.sum() - n[label]),
            )


def _indicators(headers: Sequence[Metadata]) -> "dict[tuple[str, str], np.ndarray]":
    """{(field, value): (N,) bool}"""
    import numpy as np

    indicators = {}
    for field in dict.fromkeys(field for header in headers for field in header):
        values = [header.get(field) for header in headers]
        if any(isinstance(value, float) for value in values):
            numbers = np.array([np.nan if value is None else value for value in values])
            for limit in np.unique(np.nanquantile(numbers, np.arange(1, 10) / 10, method="lower")):
                indicators[field, f"above {limit:g}"] = numbers > limit
                indicators[field, f"up to {limit:g}"] = numbers <= limit
        else:
            for value in dict.fromkeys(value for value in values if value is not None):
                indicators[field, value] = np.array([other == value for other in values])
    return indicators


def _exclusive(association: _Association, labels: "np.ndarray") -> bool:
    return (
        (labels == association.label).sum() >= MIN_IMAGES
        and association.of_class >= NEARLY_ALL
        and association.of_others <= 1 - NEARLY_ALL
    )


def _problems(
    association: _Association, samples: Samples, positions: Sequence[int], headers: Sequence[Metadata]
) -> Iterator[Problem]:
    """A problem per image of the class that has the value."""
    holds = _indicators(headers)[association.field, association.value]
    labels = [samples.labels[i] for i in positions]
    others = [h.get(association.field) for h, y in zip(headers, labels, strict=True) if y != association.label]
    other, n = Counter(others).most_common(1)[0]
    is_common = n >= NEARLY_ALL * len(others) and isinstance(other, str)
    detail = association.text(samples.classes, other if is_common else None)
    for i, label, has_value in zip(positions, labels, holds, strict=True):
        if has_value and label == association.label:
            yield Problem(kind="file metadata", position=i, detail=detail, serious=True)


def _share(fraction: float) -> str:
    return "all" if fraction == 1 else "none" if fraction == 0 else f"{100 * fraction:.0f} %"


def format_baselines(baselines: Baselines) -> str:
    scores = ", ".join(f"{name} {100 * score:.1f} %" for name, score in baselines.scores.items())
    return (
        f"baselines that do not see the object, balanced accuracy in {baselines.folds} folds of {baselines.n:,} images "
        f"(chance {100 / baselines.n_classes:.1f} %): {scores}"
    )
