"""Everything that is needed to go on exactly where a run stopped.

RUN_FOLDER/checkpoints/last.pt, and best.pt of the weights that are kept: each is whole, and holds the weights, the state of
optimizer, schedule and loss scale, and `Progress`. No random state: whatever is random comes from the seed and from
the number of the step (loaders.py, finetune.py), so there is none to keep. No position in the data, for the same reason.
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

FORM = (
    1  # of these files, and of what training makes of a step: one more where old ones cannot be gone on with
)
FOLDER, LAST, BEST = "checkpoints", "last.pt", "best.pt"
PARTS = {"progress", "net", "optimizer", "scheduler"}  # and, for float16, the scaler


@dataclass(kw_only=True)
class Progress:
    """Where a run stands, between two steps. With its seed and its recipe this determines all that follows."""

    step: int = 0  # of the optimizer, over all phases
    breaks: list[int] = field(default_factory=list)  # the steps at which the run was taken up again
    phase: int = 0
    began: int = 0  # the step before the first of the phase
    seconds: float = 0.0  # of training and evaluation so far
    joules: float = 0.0  # that the GPUs took in this time; NaN: not counted, at least for a part of it
    best: dict = field(default_factory=dict)  # the record of the evaluation whose weights are kept
    best_score: float = float("-inf")  # the highest of all
    records: list[dict] = field(default_factory=list)  # of every evaluation
    # since the last evaluation
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0])  # of losses and of right answers
    seen: int = 0  # images
    train_seconds: float = 0.0
    data_seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """Where checkpoints go, and how often; of several processes one writes."""

    folder: Path  # of the run
    every: int  # steps
    write: bool = True


def save(keeping: CheckpointConfig, at: Progress, parts: dict[str, Any], better: bool) -> None:
    """Keep `at` and the state of all `parts`; `better`: as the weights to keep, too.

    On the disk when it returns: a power failure leaves this checkpoint or the one before. The best one takes its name
    first; should the process die between the two, it is the newer, and `load` takes it.
    """
    if not keeping.write:
        return
    states = {name: part.state_dict() for name, part in parts.items() if part is not None}
    folder = keeping.folder / FOLDER
    folder.mkdir(exist_ok=True)
    with atomic_write(folder / LAST) as part:
        with open(part, "wb") as file:
            torch.save({"form": FORM, "progress": asdict(at), **states}, file)
            file.flush()
            os.fsync(file.fileno())
        if better:
            with atomic_write(folder / BEST) as twin:
                try:
                    os.link(part, twin)
                except OSError:  # a file system without links
                    shutil.copyfile(part, twin)


def restore(parts: dict[str, Any], saved: dict[str, Any]) -> None:
    for name, part in parts.items():
        if part is not None and name in saved:  # a run that goes on in float16 gets a new scaler
            part.load_state_dict(saved[name])


def load(folder: Path, best: bool = False) -> dict[str, Any] | None:
    """The newest checkpoint of a run, or that of the weights it keeps; None where it has none yet.

    Raises:
        UserError: a file that cannot be read, or of another form.
    """
    found = [
        _read(path)
        for name in ((BEST,) if best else (LAST, BEST))
        if (path := folder / FOLDER / name).exists()
    ]
    return max(found, key=lambda state: state["progress"]["step"], default=None)


def best_weights(folder: Path) -> dict[str, Tensor]:
    """Raises: UserError: they cannot be read, or are gone; the last checkpoint is of no use without them."""
    last, best = folder / FOLDER / LAST, folder / FOLDER / BEST
    if not best.exists():
        raise UserError(f"cannot resume from {last}: {best} is missing; delete {last} to start over")
    return _read(best)["net"]


def remove(folder: Path) -> None:
    """A finished run has no more use for them."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        form = state["form"]
        if form == FORM and (missing := PARTS - state.keys()):
            raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        if form == FORM and not isinstance(Progress(**state["progress"]).step, int):
            raise ValueError("it tells no step")
    except Exception as error:  # broken files make the reader fail in every way there is
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"cannot resume from {path}: {reason}; remove it to resume from an earlier one"
        ) from None
    if form != FORM:
        raise UserError(f"cannot resume from {path}: format {form}, expected {FORM}; start a new run")
    return state
