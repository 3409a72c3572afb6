"""Agreement of each score of a recommendation with the fine-tuned ranking.

Two static rankings are compared as well, because one of them outperforms LogME in arXiv 2510.06448: ImageNet's top-1, and the
mean of the fine-tuned scores on all other datasets (leave one dataset out).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models import build
from .runs import Run, parse_result
from .sections import Cell, build_cells

SCORES = {
    "score": "probe",
    "knn": "kNN",
    "logme": "LogME",
    "h_score": "H-score",
    "imagenet_top1": "ImageNet top-1",
    "other_datasets": "other datasets",
}
MIN_BACKBONES = 3  # of a ranking
MIN_DATASETS = 3  # for an interval
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Agreement:
    """Weighted tau (Vigna 2015) of the fine-tuned ranking with that of each score, -1 to 1; None: a score is missing."""

    dataset: str
    test_fingerprint: str  # two folders may have the same name; "" in older answers
    backbones: int
    tau: dict[str, float | None]
    notes: tuple[str, ...] = ()  # on runs that are left out, and on backbones that were trained differently


def read(paths: Iterable[Path]) -> tuple[list[Json], list[Json]]:
    """Recommendations and results: JSON files, .jsonl files of results, and all run folders below a folder.

    Raises:
        UserError: no such path, or neither.
    """
    recommendations, results = [], []
    for path in paths:
        if not path.exists():
            raise UserError(f"no file or folder {path}")
        for file in sorted(path.rglob("result.json")) if path.is_dir() else [path]:
            for document in _read_documents(file):
                (recommendations if "backbones" in document else results).append(document)
    return recommendations, results


def _read_documents(file: Path) -> list[Json]:
    """Raises: UserError: the file, or a line of a .jsonl file, is neither a recommendation nor a result."""
    try:
        text = file.read_text("utf-8")
        documents = [json.loads(part) for part in (text.splitlines() if file.suffix == ".jsonl" else [text]) if part]
    except ValueError:  # not JSON, not UTF-8
        documents = [None]
    if not all(map(_is_recommendation_or_result, documents)):
        raise UserError(f"{file} is neither a recommendation (recommend --out) nor the result of a run")
    return documents


def _is_recommendation_or_result(document: Any) -> bool:
    if not isinstance(document, dict) or "dataset" not in document:
        return False
    rows = document.get("backbones")
    if rows is None:
        return bool(document.get("test")) and "backbone" in document
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) and "backbone" in row for row in rows)


def validate(recommendations: Sequence[Json], results: Sequence[Json]) -> list[Agreement]:
    """One agreement per recommendation with three or more fine-tuned backbones.

    Runs count if data, weights and image size match and the protocol is `clean`. Seeds are averaged, settings are not: those
    of the best validation score count, as in the report's tables (see `build_cells`).

    Raises:
        UserError: there is none; lists the number of backbones of each dataset.
    """
    cells = [build_cells(list(_comparable_runs(one, results))) for one in recommendations]
    finetuned = [
        {name: cell.score(one["metric"])[0] for name, cell in found.items()}
        for one, found in zip(recommendations, cells, strict=True)
    ]
    enough = [i for i, scores in enumerate(finetuned) if len(scores) >= MIN_BACKBONES]
    if not enough:
        counts = ", ".join(
            f"{one['dataset']} {len(scores)}" for one, scores in zip(recommendations, finetuned, strict=True)
        )
        raise UserError(
            f"nothing to validate: expected a recommendation and {MIN_BACKBONES} or more of its backbones fine-tuned; "
            f"found: {counts or 'no recommendations'}"
        )
    tests = [(one["dataset"], _test_fingerprint(one)) for one in recommendations]
    return [
        _agreement(recommendations[i], cells[i], finetuned[i], [finetuned[j] for j in enough if tests[j] != tests[i]])
        for i in enough
    ]


def mean(agreements: Sequence[Agreement], score: str) -> tuple[float, tuple[float, float] | None] | None:
    """Mean tau over datasets, with Student's 95 % interval if there are three or more; None if a dataset has no tau."""
    import numpy as np
    from scipy import stats

    by_dataset: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for one in agreements:
        by_dataset[one.dataset, one.test_fingerprint].append(one.tau[score])
    if any(None in taus for taus in by_dataset.values()):
        return None
    means = [np.mean(taus) for taus in by_dataset.values()]
    center, n = float(np.mean(means)), len(means)
    if n < MIN_DATASETS:
        return center, None
    half = float(stats.t.ppf(0.975, n - 1) * np.std(means, ddof=1) / np.sqrt(n))
    return center, (max(-1.0, center - half), min(1.0, center + half))


def format_agreements(agreements: Sequence[Agreement]) -> str:
    """A table of the weighted taus of each dataset, and of their means."""
    means = {score: mean(agreements, score) for score in SCORES}

    def line(title: str, count: object, cells: Sequence[str]) -> str:
        return f"{title:18} {count:>3} " + " ".join(f"{cell:>14}" for cell in cells)

    lines = [line("weighted tau", "n", list(SCORES.values()))]
    for one in agreements:
        cells = ["-" if one.tau[score] is None else f"{one.tau[score]:.2f}" for score in SCORES]
        lines.append(line(one.dataset, one.backbones, cells))
    n_datasets = len({(one.dataset, one.test_fingerprint) for one in agreements})
    cells = ["-" if means[score] is None else f"{means[score][0]:.2f}" for score in SCORES]
    lines.append(line("mean", n_datasets, cells))
    if any(means[score] and means[score][1] for score in SCORES):
        cells = ["-" if means[score] is None else "[{:.2f}, {:.2f}]".format(*means[score][1]) for score in SCORES]
        lines.append(line("95 %", "", cells))
    else:
        lines.append(
            f"No interval: it needs three datasets or more, not {n_datasets}. With few backbones this is anecdotal."
        )
    return "\n".join([*lines, *dict.fromkeys(note for one in agreements for note in one.notes)])


def _comparable_runs(recommendation: Json, results: Sequence[Json]) -> Iterator[Run]:
    """The fine-tuned runs of its backbones, see `validate`.

    Raises:
        UserError: the result of one is damaged.
    """
    rows = {row["backbone"]: row for row in recommendation["backbones"]}
    for result in results:
        row = rows.get(result["backbone"])
        if row and _comparable(recommendation, row, result):
            try:
                run = parse_result(result, Path())
                run.scores[recommendation["metric"]]
            except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
                raise UserError(
                    f"a run of {row['backbone']} on {result['dataset']} cannot be used: {type(error).__name__}: {error}"
                ) from None
            yield run


def _notes(dataset: str, cells: Mapping[str, Cell]) -> Iterator[str]:
    for name, cell in cells.items():
        yield from (f"{dataset}, {name}: {caveat}" for caveat in cell.caveats)
        if cell.excluded:
            yield (
                f"{dataset}, {name}: {cell.search_budget}; {len(cell.runs)} of its runs count ({cell.setup}), "
                f"{cell.excluded} of other settings, or repeats, do not"
            )
    setups: dict[str, list[str]] = defaultdict(list)
    for name, cell in cells.items():
        setups[cell.setup].append(name)
    if len(setups) > 1:
        listed = "; ".join(f"{', '.join(names)} {setup}" for setup, names in setups.items())
        yield f"{dataset}: size, epochs or recipe differ: {listed}"


def _comparable(recommendation: Json, row: Json, result: Json) -> bool:
    """Whether the run has the data, weights and image size of the recommendation."""
    fingerprint, split = _test_fingerprint(recommendation), result["split"]
    return (
        result["dataset"] == recommendation["dataset"]
        and split.get("test_fingerprint", "") == fingerprint
        and (fingerprint or recommendation["dataset"] != "folder" or split["fingerprint"] == recommendation["split"])
        and split["kind"] == "clean"
        and (result["subset"], result["shots"], result["fraction"])
        == (recommendation["subset"], recommendation["shots"], None)
        and result["protocol"] == "clean"
        and result["weights"] == ("none" if row["weights"] == "none" else build.get_backbone(row["backbone"]).weights)
        and list(result["preprocess"]["size"]) == list(row["size"])
    )


def _test_fingerprint(recommendation: Json) -> str:
    return recommendation.get("test_fingerprint", "")


def _agreement(
    recommendation: Json,
    cells: Mapping[str, Cell],
    finetuned: Mapping[str, float],
    others: Sequence[Mapping[str, float]],
) -> Agreement:
    from scipy.stats import weightedtau

    rows = {row["backbone"]: dict(row) for row in recommendation["backbones"] if row["backbone"] in finetuned}
    for name, row in rows.items():
        scores = [other[name] for other in others if name in other]
        complete = others and len(scores) == len(others)
        row["other_datasets"] = sum(scores) / len(scores) if complete else None
    tau: dict[str, float | None] = {}
    for score in SCORES:
        values = [row[score] for row in rows.values()]
        truth = [finetuned[name] for name in rows]
        tau[score] = None if None in values else float(weightedtau(truth, values).statistic)
    dataset = recommendation["dataset"]
    return Agreement(dataset, _test_fingerprint(recommendation), len(rows), tau, tuple(_notes(dataset, cells)))
