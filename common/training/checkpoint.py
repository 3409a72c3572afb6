"""Checkpoints, from which a run resumes bit by bit.

RUN_FOLDER/checkpoints/last.pt, and best.pt for the selected weights: each is complete, with the weights, the state of
optimizer, schedule and loss scaler, and `Progress`. Random state and the position in the data are not saved: they
follow from the seed and the step (data/loader.py, train_step.py).
"""

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..files.atomic import atomic_write

FORMAT = 2  # of these files and of the arithmetic of a step: increased when older ones cannot be resumed
FOLDER, LAST, BEST = "checkpoints", "last.pt", "best.pt"
# of every checkpoint; float16 adds its scaler, an average of the weights its network
PARTS = {"progress", "net", "optimizer", "scheduler"}


@dataclass(kw_only=True)
class Progress:
    """The counters of a run between two steps. With the seed and the recipe they determine what follows."""

    step: int = 0  # of the optimizer, over all phases
    resumed_at: list[int] = field(default_factory=list)  # steps
    phase: int = 0
    phase_start: int = 0  # the step after which the phase began
    seconds: float = 0.0  # of training and evaluation so far
    joules: float = 0.0  # of all GPUs in this time; NaN: not measured throughout
    best: dict = field(default_factory=dict)  # the record of the selected weights
    best_score: float = float("-inf")  # the highest of all evaluations
    initial_score: float = float("-inf")  # of the initial weights, with `Task.evaluate_first`
    records: list[dict] = field(default_factory=list)  # of every evaluation
    # since the last evaluation
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # losses and correct predictions
    images: int = 0
    train_seconds: float = 0.0
    data_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Where checkpoints are written, and how often."""

    folder: Path  # of the run
    every: int  # steps
    write: bool = True  # True in one process only


def save(config: CheckpointConfig, progress: Progress, parts: dict[str, Any], better: bool) -> None:
    """Write `progress` and the state of all `parts` to last.pt; with `better` to best.pt, too.

    It is on the disk when this returns: a power failure leaves this checkpoint or the one before. best.pt is replaced
    first; if the process dies between the two, it is the newer one, and `load` takes it.
    """
    if not config.write:
        return
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    folder = config.folder / FOLDER
    folder.mkdir(exist_ok=True)
    with atomic_write(folder / LAST) as part:
        with open(part, "wb") as file:
            torch.save({"form": FORMAT, "progress": asdict(progress), **states}, file)
            file.flush()
            os.fsync(file.fileno())
        if better:
            with atomic_write(folder / BEST) as twin:
                try:
                    os.link(part, twin)
                except OSError:  # a file system without links
                    shutil.copyfile(part, twin)


def restore(parts: dict[str, Any], saved: dict[str, Any]) -> None:
    """Load the state of all `parts` from a checkpoint."""
    for name, part in parts.items():
        if part is not None and name in saved:  # a run resumed in float16 has a new scaler
            part.load_state_dict(saved[name])


def load(folder: Path, best: bool = False) -> dict[str, Any] | None:
    """The newest checkpoint of a run, or that of the selected weights; None if there is none yet.

    Raises:
        UserError: a file cannot be read, or has another format.
    """
    paths = [folder / FOLDER / name for name in ((BEST,) if best else (LAST, BEST))]
    return max(
        (_read(path) for path in paths if path.exists()), key=lambda state: state["progress"]["step"], default=None
    )


def best_weights(folder: Path) -> dict[str, Tensor]:
    """The selected weights.

    Raises:
        UserError: the file is missing or cannot be read: last.pt cannot be resumed without it.
    """
    last, best = folder / FOLDER / LAST, folder / FOLDER / BEST
    if not best.exists():
        raise UserError(f"cannot resume from {last}: {best} is missing; delete {last} to start over")
    state = _read(best)
    return state.get("ema", state["net"])


def remove(folder: Path) -> None:
    """Delete the checkpoints of a finished run."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        version = state["form"]
        if version == FORMAT:
            if missing := PARTS - state.keys():
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
            if not isinstance(Progress(**state["progress"]).step, int):
                raise ValueError("its step is not an integer")
    except Exception as error:  # a broken file makes torch.load fail in any way
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"cannot resume from {path}: {reason}; remove it to resume from an earlier one") from None
    if version != FORMAT:
        raise UserError(f"cannot resume from {path}: format {version}, expected {FORMAT}; start a new run")
    return state
