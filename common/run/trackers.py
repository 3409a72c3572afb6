"""Experiment trackers, through Accelerate: MLflow, Weights & Biases, the hyperparameters of TensorBoard."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError, printable
from .config import flatten
from .results import RESULT, read_json

if TYPE_CHECKING:
    from accelerate.tracking import GeneralTracker

TRACKERS = ("tensorboard", "mlflow", "wandb")  # each is the name of its package, too
PROJECT = "clash-of-backbones"


def check_installed(tracker: str) -> None:
    """Raises: UserError: the tracker's package is missing."""
    if not find_spec(tracker):
        raise UserError(f"--track {tracker} needs its package: pip install {tracker}")


def scalars(record: Mapping[str, Any]) -> dict[str, float]:
    """The record of an evaluation under the names of a tracker: val_top1 is val/top1."""
    return {name.replace("_", "/", 1): value for name, value in record.items()}


class Tracker:
    """A tracker of Accelerate. If it fails, the run continues without it."""

    def __init__(self, name: str, client: "GeneralTracker"):
        self.name = name
        self.client: GeneralTracker | None = client

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._call(lambda client: client.log(dict(values), step=step))

    def finish(self) -> None:
        self._call(lambda client: client.finish())

    def _call(self, action: Callable[["GeneralTracker"], None]) -> None:
        if not self.client:
            return
        try:
            action(self.client)
        except Exception as error:  # of another package, such as of its connection
            self.client = None
            print(f"{self.name} failed, the run continues without it: {_first_line(error)}", file=sys.stderr)


@contextmanager
def tracking(
    name: str | None, folder: Path, settings: Mapping[str, Any], records: Sequence[Mapping[str, Any]]
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields a function that logs the record of an evaluation with the tracker `name`, if that is not None.

    The settings are logged first, then `records`, those before a run was resumed; at the end of the block the test
    scores, if the run is finished.

    Raises:
        UserError: the tracker does not start.
    """
    if not name:
        yield lambda record: None
        return
    tracker, last_step = _start(name, folder, settings), 0

    def log(record: Mapping[str, Any]) -> None:
        nonlocal last_step
        last_step = record["step"]
        if name != "tensorboard":  # every run writes its scalars
            tracker.log(scalars(record), last_step)

    try:
        for record in records:
            log(record)
        yield log
        if (folder / RESULT).exists():
            test = read_json(folder / RESULT)["test"]
            tracker.log({f"test/{metric}": score["value"] for metric, score in test.items()}, last_step)
    finally:
        tracker.finish()


def _start(name: str, folder: Path, settings: Mapping[str, Any]) -> Tracker:
    from accelerate import PartialState, tracking

    PartialState()  # the trackers' logging needs it, and a probe has no Accelerator
    try:
        client = {
            "tensorboard": lambda: tracking.TensorBoardTracker("", folder),
            "mlflow": lambda: tracking.MLflowTracker(PROJECT, run_name=folder.name),
            "wandb": lambda: tracking.WandBTracker(
                os.environ.get("WANDB_PROJECT", PROJECT), name=folder.name, dir=folder
            ),
        }[name]()
        client.start()
        client.store_init_configuration({k: v for k, v in flatten(settings).items() if v is not None})
    except Exception as error:  # of another package: no account, no server
        raise UserError(f"--track {name} does not start ({_first_line(error)}): fix that, or drop --track") from None
    return Tracker(name, client)


def _first_line(error: Exception) -> str:
    return printable((str(error).strip() or type(error).__name__).splitlines()[0])
