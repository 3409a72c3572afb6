"""Successive halving: probes of all backbones on more and more images, without the weak ones where a budget requires it."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ..errors import UserError
from ..spec import RunConfig
from . import cost_model, probe, ranking, table_text
from .dataset import ProbeData, Round
from .probe import ProbeResult

SHARE = 0.5  # of a budget, at most; the rest is for the race
TOO_LATE = "the budget ended before its turn"
MIN_COMPARED = 2  # backbones, whatever the budget
COST_IMAGES = 3 * 3 * cost_model.CPU_IMAGES  # forward passes as costly as a measurement: 3 training steps


@dataclass
class Probes:
    """Those of the last round, by backbone, and the backbones without one."""

    results: dict[str, ProbeResult] = field(default_factory=dict)
    round_: Round | None = None  # of `results`
    dropped: list[dict[str, Any]] = field(default_factory=list)  # rows of the weak ones
    failed: dict[str, str] = field(default_factory=dict)  # {backbone: reason}
    too_late: list[str] = field(default_factory=list)  # the budget left no time for these

    @property
    def left_out(self) -> dict[str, str]:
        """{backbone: reason}"""
        return self.failed | dict.fromkeys(self.too_late, TOO_LATE)


def probe_all(
    runs: Sequence[RunConfig],
    data: ProbeData,
    device: torch.device,
    seconds_left: Callable[[], float],
    log: Callable[[str], None],
) -> Probes:
    """Probe all backbones on the images of each round.

    Under a budget, each round but the last drops the worst backbones: at most half, and no more than necessary for the
    others to finish in time (Jamieson & Talwalkar 2016, arXiv 1502.07943). The first uses an eighth of the images. If even
    then there is no time for the next round, none is dropped: this round decides. Two are compared in any case.

    Raises:
        UserError: no backbone could process the images.
    """
    probes = Probes()
    for number, round_ in enumerate(data.rounds):
        probes.round_ = round_
        for run in tqdm(runs, "backbones", unit="backbone", leave=False, disable=None):
            if number and run.model not in probes.results:
                continue
            if not number and seconds_left() < 0 and len(probes.results) >= MIN_COMPARED:
                probes.too_late.append(run.model)
                log(f"{run.model} is left out: {TOO_LATE}")
                continue
            previous = probes.results.pop(run.model, None)
            try:
                result = probe.evaluate(run, data, round_, previous, device)
            except UserError as error:
                probes.failed[run.model] = str(error)
                log(f"{run.model} is left out: {error}")
            else:
                probes.results[run.model] = result
                log(table_text.format_score(run.model, run.weights, len(round_), data.metric, result.scores))
        if not probes.results:
            raise UserError(f"no backbone could process the images: {next(iter(probes.failed.values()))}")
        if round_ is data.rounds[-1]:
            break
        worst = _worst(probes, data, runs[0].seed, seconds_left())
        names = {row["name"] for row in worst}
        others = [result for name, result in probes.results.items() if name not in names]
        if _seconds(others, data.rounds[number + 1 : number + 2]) > seconds_left():
            log(f"the budget allows only {len(round_):,} of {data.n_images:,} images")
            break
        for row in worst:
            del probes.results[row["name"]]
            probes.dropped.append(row)
            log(table_text.format_dropped(row, data.metric))
    return probes


def rank(probes: Probes, data: ProbeData, seed: int) -> list[ranking.Standing]:
    predicted = np.array([result.predicted for result in probes.results.values()])
    labels, groups = probes.round_.labels, probes.round_.groups
    return ranking.rank(list(probes.results), predicted, labels, data.metric, seed, groups)


def full_comparison(probes: Probes, data: ProbeData, spent: float) -> dict[str, Any] | None:
    """The budget, in seconds, that all backbones would take on all images, estimated; None: they had the time."""
    results, missing = probes.results.values(), _later_rounds(probes, data)
    if not (missing or probes.dropped or probes.too_late):
        return None
    seconds = spent + _seconds(results, missing) + sum(row["needed_seconds"] for row in probes.dropped)
    seconds += len(probes.too_late) * _seconds(results, data.rounds) / len(results)
    n_backbones = len(results) + len(probes.dropped) + len(probes.too_late)
    return {"backbones": n_backbones, "images": data.n_images, "budget_seconds": seconds / SHARE}


def _worst(probes: Probes, data: ProbeData, seed: int, seconds_left: float) -> list[dict[str, Any]]:
    """Rows of the worst, at most half, without which the others can finish in time; two remain."""
    standings, worst = rank(probes, data, seed), []
    n_survivors = max(MIN_COMPARED, math.ceil(len(standings) / 2))
    rounds = _later_rounds(probes, data)
    seconds = {
        name: _seconds([result], rounds) + COST_IMAGES / result.images_per_second
        for name, result in probes.results.items()
    }
    while len(standings) > n_survivors and sum(seconds[each.name] for each in standings) > seconds_left:
        last = standings.pop()
        worst.append({**asdict(last), "images": len(probes.round_), "needed_seconds": seconds[last.name]})
    return worst


def _later_rounds(probes: Probes, data: ProbeData) -> list[Round]:
    return [each for each in data.rounds if len(each) > len(probes.round_)]


def _seconds(results: Iterable[ProbeResult], rounds: Sequence[Round]) -> float:
    """The time that these backbones need for the rounds: features of new images, scores of all."""
    n_features, n_scored = sum(each.n_new for each in rounds), sum(map(len, rounds))
    return sum(result.seconds(n_features, n_scored) for result in results)
