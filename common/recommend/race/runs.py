"""The runs of a race: run folders that score a fold of the training images, found again after an interruption.

Every run is a whole short run, with its own warm-up and cosine, on all folds but one; it selects its weights on a part of these, and is
scored on the fold left out. Test images are in none of the splits.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...data.splits import split_file, splits
from ...errors import disk_errors
from ...files.atomic import atomic_write
from ...metrics.classification import image_scores
from ...models.build import get_backbone
from ...run import results
from ...run.groups import group_indices
from ...spec import RunConfig
from ...training import recipe_search, recipes
from ...transfer.folds import assign_folds
from .. import finetuning
from ..dataset import ProbeData
from . import log as race_log
from . import race
from .belief import Key, Prior, Run
from .log import Entry

FRACTIONS = (1 / 4, 1 / 2, 1.0)  # of the steps of the default recipe
PEAKS = (3e-4, 1e-3, 1e-3)  # of the learning rate, at most: a shorter run needs a lower one
RATES = recipe_search.RATES["adamw"]
SEARCHED = 2  # rates of a network whose own was never measured
FORWARDS = 3.5  # forward passes as costly as a training step of an image
STARTUP = 10.0  # seconds, before any run was timed


@dataclass(frozen=True)
class Budget:
    seconds: float  # for all runs of the race, those before an interruption included
    tolerance: float  # points


@dataclass(frozen=True)
class RaceRuns:
    """Makes the runs of K candidates, and finds those of an interrupted race in its folder."""

    configs: Sequence[RunConfig]
    script: Sequence[str]
    data: ProbeData
    full_seconds: Sequence[float]  # of a full run of each candidate, estimated
    folder: Path
    steps: Sequence[int]  # of each rung
    fold_of: np.ndarray  # (M,) of the training and validation images
    log: Callable[[str], None]
    entries: list[Entry] = field(default_factory=list)

    def train(self, key: Key) -> Run | None:
        """A run at the candidate's rate for this rung, which the first run searches; None: it fails at every rate."""
        candidate, rung = key[:2]
        while (lr := self._untried(candidate, rung)) is not None:
            self._finetune(key, lr)
        if (lr := self._best_rate(candidate, rung)) is None:
            return None
        if not self._entry(key, lr):
            self._finetune(key, lr)
        return self._run(key, lr) if self._entry(key, lr).val is not None else None

    def cost(self, key: Key) -> float:
        """Expected seconds, the search for a rate included."""
        candidate, rung, _ = key
        of_candidate = [e for e in self.entries if e.is_of(self.configs[candidate])]
        timed = of_candidate or self.entries
        expected = sum(self._estimate(self._position(e), e.steps) for e in timed)
        ratio = sum(e.seconds for e in timed) / expected if timed else 1.0
        rates = len(self._search(candidate, rung)) if not self._tried(candidate, rung) else 1
        return ratio * rates * self._estimate(candidate, self.steps[rung])

    def describe(self, key: Key) -> str:
        candidate, rung, seed = key
        return f"{self.configs[candidate].model}, {self.steps[rung]} steps, seed {seed}"

    def n_rates(self, candidate: int) -> int:
        """Learning rates that are tried at each length if none fails: the measured one, or `SEARCHED`."""
        return len(self._search(candidate, 0))

    def spent(self) -> float:
        """Seconds of all runs so far, failed ones included."""
        return sum(entry.seconds for entry in self.entries)

    def finished(self) -> tuple[list[Run], set[int]]:
        """Those of an interrupted race, and the candidates whose runs fail."""
        runs, failed = [], set()
        for candidate, rung in np.ndindex(len(self.configs), len(self.steps)):
            tried = self._tried(candidate, rung)
            if not tried or self._untried(candidate, rung) is not None:
                continue
            if (lr := self._best_rate(candidate, rung)) is None:
                failed.add(candidate)
                continue
            runs += [self._run((candidate, rung, e.seed), lr) for e in tried if e.lr == lr and e.val is not None]
        return runs, failed

    def _search(self, candidate: int, rung: int) -> Sequence[float]:
        """The rate measured for the network, or several; lower ones follow if they fail or improve nothing."""
        config = self.configs[candidate]
        measured = recipes.measured_lr(get_backbone(config.model)) if config.weights != "none" else None
        start = RATES.index(PEAKS[rung])
        return (min(measured.lr, PEAKS[rung]),) if measured else RATES[start : start + SEARCHED]

    def _untried(self, candidate: int, rung: int) -> float | None:
        """The next rate of the search; None: it is complete."""
        tried, search = self._tried(candidate, rung), self._search(candidate, rung)
        if missing := [lr for lr in search if lr not in {e.lr for e in tried}]:
            return missing[0]
        lower = [lr for lr in RATES if lr < min(e.lr for e in tried)]
        return lower[0] if lower and not any(e.tuned for e in tried) else None

    def _best_rate(self, candidate: int, rung: int) -> float | None:
        """Of the rates that the first seed tried, by the score that selects weights; None: all fail."""
        tried = self._tried(candidate, rung)
        scored = [e for e in tried if e.val is not None and e.seed == tried[0].seed]
        return max(scored, key=lambda e: e.val).lr if scored else None

    def _tried(self, candidate: int, rung: int) -> list[Entry]:
        return [e for e in self.entries if e.is_of(self.configs[candidate]) and e.steps == self.steps[rung]]

    def _entry(self, key: Key, lr: float) -> Entry | None:
        return next((e for e in self._tried(*key[:2]) if (e.seed, e.lr) == (key[2], lr)), None)

    def _run(self, key: Key, lr: float) -> Run:
        candidate, rung, seed = key
        names, labels, predicted = finetuning.predictions([self._out(key, lr)])
        scores = 100 * image_scores(predicted == labels, labels, self.data.metric)[0]
        seconds = sum(e.seconds for e in self._tried(candidate, rung) if e.seed == seed)
        return Run(candidate, rung, seed, scores, seconds, finetuning.groups_of(self.data.samples, names))

    def _finetune(self, key: Key, lr: float) -> None:
        """A run folder and its log entry. Its weights are deleted: they are of a part of the images."""
        with disk_errors(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        config, seed, entry = self.configs[key[0]], key[2], self._new_entry(key, lr)
        out = self.folder / entry.folder
        options = {"--lr": lr, "--steps": entry.steps, "--seed": config.seed + seed}
        split, begin = self._split(seed % (int(self.fold_of.max()) + 1)), time.perf_counter()
        try:
            if not (out / results.RESULT).exists():
                arguments = [str(part) for option in options.items() for part in option]
                finetuning.finetune(config, self.script, split, out, *arguments)
        except finetuning.Failed as error:
            if error.status != finetuning.USERS_MISTAKE:
                raise
            self.log(f"{self.describe(key)}, failed at a learning rate of {lr:g}")
        else:
            result = results.read_json(out / results.RESULT)
            best, seconds = result["best"], results.seconds(result)
            entry = replace(entry, val=best[f"val_{self.data.metric}"], tuned=best["step"] > 0, seconds=seconds)
            (out / results.BEST).unlink(missing_ok=True)
        self.entries.append(replace(entry, seconds=max(entry.seconds, time.perf_counter() - begin)))
        race_log.append(self.folder, self.entries[-1])

    def _out(self, key: Key, lr: float) -> Path:
        return self.folder / self._new_entry(key, lr).folder

    def _new_entry(self, key: Key, lr: float) -> Entry:
        candidate, rung, seed = key
        config = self.configs[candidate]
        return Entry(config.model, config.weights, config.image_size, self.steps[rung], lr, seed, 0.0)

    def _split(self, fold: int) -> Path:
        """The split file in which this fold is held out."""
        path, split = self.folder / f"fold{fold}.csv", self.data.finetune_split
        if not path.exists():
            pool = np.array(sorted(split.train + split.val))
            others, held_out = (
                tuple(pool[members].tolist()) for members in (self.fold_of != fold, self.fold_of == fold)
            )
            with disk_errors(self.folder), atomic_write(path) as part:
                split_file.write(part, self.data.samples, replace(split, train=others, val=(), test=held_out))
        return path

    def _estimate(self, candidate: int, steps: int) -> float:
        return STARTUP + self.full_seconds[candidate] * steps / self.steps[-1]

    def _position(self, entry: Entry) -> int:
        return next(k for k, config in enumerate(self.configs) if entry.is_of(config))


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
    """
    prior, runs = _prepare(rows, finetuned, configs, script, data, log)
    setup = race.Race(
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
    return race.as_json(setup, race.race(setup, *runs.finished(), log), FRACTIONS)


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
