"""The race of the backbones of an answer: its prior, its folds and folder, its runs so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...data.splits import splits
from ...errors import UserError
from ...run.groups import group_indices
from ...spec import RunConfig
from ...training import recipes
from ...transfer.folds import assign_folds
from .. import finetuning
from ..dataset import ProbeData
from . import log as race_log
from . import loop
from .belief import Prior
from .runs import RaceRuns

FRACTIONS = (1 / 4, 1 / 2, 1.0)  # of the steps of the default recipe
FORWARDS = 3.5  # forward passes as costly as a training step of an image


@dataclass(frozen=True)
class Budget:
    seconds: float  # for all runs of the race, those before an interruption included
    tolerance: float  # points


def run(
    rows: Sequence[dict[str, Any]],
    finetuned: np.ndarray,
    configs: Sequence[RunConfig],
    script: Sequence[str],
    data: ProbeData,
    budget: Budget,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """The race of the candidates of an answer (its rows); returns the answer's field `race`.

    `finetuned`: (R, K) draws of their fine-tuned scores, as fractions.

    Raises:
        UserError: the folder of the race cannot be read or written, or the runs of all backbones failed.
    """
    prior, runs = _prepare(rows, finetuned, configs, script, data, log)
    setup = loop.Race(
        names=[config.model for config in configs],
        prior=prior,
        rates=list(map(runs.n_rates, range(len(configs)))),
        train=runs.train,
        cost=runs.cost,
        spent=runs.spent,
        describe=runs.describe,
        seconds=budget.seconds,
        tolerance=budget.tolerance,
    )
    finished, failed = runs.finished()
    if len(failed) == len(configs):
        raise UserError(f"the runs of all backbones failed; delete {runs.folder} to try again")
    return loop.as_json(setup, loop.race(setup, finished, failed, log), FRACTIONS)


def _prepare(
    rows: Sequence[dict[str, Any]],
    finetuned: np.ndarray,
    configs: Sequence[RunConfig],
    script: Sequence[str],
    data: ProbeData,
    log: Callable[[str], None],
) -> tuple[Prior, RaceRuns]:
    """The prior of the candidates and their runs, those of an interrupted race included.

    The folder of the race is named by a hash of what all runs share, so that the same command, with any budget, finds it again.
    """
    folder = finetuning.folder("race", configs[0], script[1:], data.finetune_split.fingerprint, data.metric)
    seed = configs[0].seed
    pool = np.array(sorted(data.finetune_split.train + data.finetune_split.val))
    fold_of = assign_folds(np.asarray(data.samples.labels)[pool], group_indices(data.samples, pool), seed)
    n_folds, batch = int(fold_of.max()) + 1, configs[0].batch_size
    n_train = (1 - splits.VAL_FRACTION) * (1 - 1 / n_folds) * len(pool)
    per_epoch = max(1, int(n_train) // batch)
    full = recipes.default_epochs(per_epoch) * per_epoch
    runs = RaceRuns(
        configs=configs,
        script=script,
        data=data,
        full_seconds=[full * (row["step_seconds"] or FORWARDS * batch / row["images_per_second"]) for row in rows],
        folder=folder,
        steps=[round(fraction * full) for fraction in FRACTIONS],
        fold_of=fold_of,
        log=log,
        entries=race_log.read(folder, configs, log),
    )
    scores = 100 * finetuned
    return Prior(scores.mean(0), np.cov(scores.T), FRACTIONS, n_folds, len(pool) // n_folds), runs
