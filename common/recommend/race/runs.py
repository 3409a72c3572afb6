"""The runs of a race: run folders that score a fold of the training images, found again after an interruption.

Every run is a whole short run, with its own warm-up and cosine, on all folds but one; it selects its weights on a part of these, and is
scored on the fold left out. Test images are in none of the splits.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ...data.splits import split_file
from ...errors import TrainingError, disk_errors
from ...files.atomic import atomic_write
from ...metrics.classification import image_scores
from ...models.build import get_backbone
from ...run import results
from ...spec import RunConfig
from ...training import recipe_search, recipes
from .. import finetuning
from ..dataset import ProbeData
from . import log as race_log
from .belief import Key, Run
from .log import Entry

PEAKS = (3e-4, 1e-3, 1e-3)  # of the learning rate, at most: a shorter run needs a lower one
RATES = recipe_search.RATES["adamw"]
SEARCHED = 2  # rates of a network whose own was never measured
STARTUP = 10.0  # seconds, before any run was timed


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
            lr = self._best_rate(candidate, rung)
            if lr is None or any(e.lr == lr and e.val is None for e in tried):
                failed.add(candidate)
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
        tried, search = self._of_first_seed(candidate, rung), self._search(candidate, rung)
        if missing := [lr for lr in search if lr not in {e.lr for e in tried}]:
            return missing[0]
        lower = [lr for lr in RATES if lr < min(e.lr for e in tried)]
        return lower[0] if lower and not any(e.tuned for e in tried) else None

    def _best_rate(self, candidate: int, rung: int) -> float | None:
        """Of the rates that the first seed tried, by the score that selects weights; None: all fail."""
        scored = [e for e in self._of_first_seed(candidate, rung) if e.val is not None]
        return max(scored, key=lambda e: e.val).lr if scored else None

    def _tried(self, candidate: int, rung: int) -> list[Entry]:
        return [e for e in self.entries if e.is_of(self.configs[candidate]) and e.steps == self.steps[rung]]

    def _of_first_seed(self, candidate: int, rung: int) -> list[Entry]:
        """Those of the seed that searches the rate."""
        tried = self._tried(candidate, rung)
        return [e for e in tried if e.seed == min(e.seed for e in tried)]

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
        with suppress(OSError):
            out.rmdir()  # it is empty if a process was killed as it began
        try:
            if not (out / results.RESULT).exists():
                arguments = [str(part) for option in options.items() for part in option]
                finetuning.finetune(config, self.script, split, out, *arguments)
        except finetuning.Failed as error:
            if error.status != TrainingError.exit_status:
                raise
            self.log(f"{self.describe(key)}, failed at a learning rate of {lr:g}")
        else:
            result = results.read_json(out / results.RESULT)
            best, seconds = result["best"], results.run_seconds(result)
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
