"""How well does each score of a recommendation predict the order in which fine-tuning leaves the backbones?

Held against two static lists: ImageNet's top-1, and the mean of all other datasets' fine-tuned scores (leave one
dataset out). arXiv 2510.06448 found a static list to beat LogME: so the lists stand beside the scores.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build

SCORES = {
    "score": "probe",
    "knn": "kNN",
    "logme": "LogME",
    "h_score": "H-score",
    "imagenet_top1": "ImageNet top-1",
    "elsewhere": "other datasets",
}
LEAST = 3  # backbones that make an order; datasets that make an interval
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """Weighted tau (Vigna 2015) of the fine-tuned order with that of each score, -1 to 1; None: not all have the score."""

    dataset: str
    tested: str  # fingerprint of its test images: two folders have one name; "" in older answers
    backbones: int
    tau: dict[str, float | None]


def read(paths: Iterable[Path]) -> tuple[list[Json], list[Json]]:
    """Recommendations and results: JSON files, .jsonl files of results, and all run folders below a folder.

    Raises:
        UserError: a path is not there, or is neither.
    """
    recommendations, results = [], []
    for path in paths:
        if not path.exists():
            raise UserError(f"no file or folder {path}")
        files = sorted(path.rglob("result.json")) if path.is_dir() else [path]
        for file in files:
            lines = (
                file.read_text("utf-8").splitlines() if file.suffix == ".jsonl" else [file.read_text("utf-8")]
            )
            for line in filter(None, lines):
                try:
                    told = json.loads(line)
                    (recommendations if "backbones" in told else results).append(told)
                    told["dataset"], told.get("backbones") or told["test"]  # what both are known by
                except (ValueError, TypeError, KeyError):
                    raise UserError(
                        f"{file} is neither a recommendation (recommend --out) nor a result of a run"
                    ) from None
    return recommendations, results


def validate(recommendations: Sequence[Json], results: Sequence[Json]) -> list[Agreement]:
    """One agreement per recommendation for which three backbones or more have been fine-tuned as it says.

    Of a backbone's runs with the same data, weights, pixels and the protocol `clean`, seeds are averaged.

    Raises:
        UserError: there is none: tells how many backbones each dataset has.
    """
    tuned = [_tuned(told, results) for told in recommendations]
    enough = [i for i, scores in enumerate(tuned) if len(scores) >= LEAST]
    if not enough:
        there = ", ".join(
            f"{told['dataset']} {len(scores)}" for told, scores in zip(recommendations, tuned, strict=True)
        )
        raise UserError(
            f"nothing to validate: a dataset needs a recommendation and {LEAST} or more of its backbones fine-tuned; found: "
            f"{there or 'no recommendations'}"
        )
    tests = [(told["dataset"], _tested(told)) for told in recommendations]
    return [
        _agreement(recommendations[i], tuned[i], [tuned[j] for j in enough if tests[j] != tests[i]])
        for i in enough
    ]


def mean(agreements: Sequence[Agreement], score: str) -> tuple[float, tuple[float, float] | None] | None:
    """Over datasets, each the mean of its recommendations, with Student's 95 % interval from three on; None where one has no tau."""
    import numpy as np
    from scipy import stats

    by_dataset: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for one in agreements:
        by_dataset[one.dataset, one.tested].append(one.tau[score])
    if any(None in own for own in by_dataset.values()):
        return None
    taus = [np.mean(own) for own in by_dataset.values()]
    center, n = float(np.mean(taus)), len(taus)
    if n < LEAST:
        return center, None
    half = float(stats.t.ppf(0.975, n - 1) * np.std(taus, ddof=1) / np.sqrt(n))
    return center, (max(-1.0, center - half), min(1.0, center + half))  # a tau is no further from 0


def _tuned(told: Json, results: Sequence[Json]) -> dict[str, float]:
    """{backbone: its fine-tuned test score, the mean of its seeds} of those in the recommendation."""
    rows = {row["backbone"]: row for row in told["backbones"]}
    scores: dict[str, list[float]] = defaultdict(list)
    for result in results:
        row = rows.get(result["backbone"])
        if row and _same(told, row, result):
            scores[result["backbone"]].append(result["test"][told["metric"]]["value"])
    return {name: sum(values) / len(values) for name, values in scores.items()}


def _same(told: Json, row: Json, result: Json) -> bool:
    """Whether the run has done what the recommendation speaks of."""
    return (
        result["dataset"] == told["dataset"]
        and result["split"].get("test_fingerprint", "") == _tested(told)
        and (_tested(told) or told["dataset"] != "folder" or result["split"]["fingerprint"] == told["split"])
        and result["split"]["kind"] == "clean"
        and (result["subset"], result["shots"], result["fraction"]) == (told["subset"], told["shots"], None)
        and result["protocol"] == "clean"
        and result["weights"]
        == ("none" if row["weights"] == "none" else build.get_backbone(row["backbone"]).weights)
        and list(result["preprocess"]["size"]) == list(row["size"])
    )


def _tested(told: Json) -> str:
    return told.get("test_fingerprint", "")


def _agreement(told: Json, tuned: Mapping[str, float], others: Sequence[Mapping[str, float]]) -> Agreement:
    from scipy.stats import weightedtau

    rows = {row["backbone"]: dict(row) for row in told["backbones"] if row["backbone"] in tuned}
    for name, row in rows.items():
        seen = [other[name] for other in others] if others and all(name in o for o in others) else None
        row["elsewhere"] = seen and sum(seen) / len(seen)
    tau: dict[str, float | None] = {}
    for score in SCORES:
        values = [row[score] for row in rows.values()]
        known = None not in values
        tau[score] = float(weightedtau([tuned[name] for name in rows], values).statistic) if known else None
    return Agreement(told["dataset"], _tested(told), len(rows), tau)
