"""The state of training, at the start of a run and of a phase."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ..metrics import energy
from ..spec import Recipe
from . import checkpoint
from .checkpoint import CheckpointConfig, Progress
from .optimizer import optimizer_and_schedule
from .task import Task


@dataclass(kw_only=True)
class TrainState:
    """The state that a step changes. Optimizer and scheduler are those of the current phase."""

    progress: Progress
    model: nn.Module  # `Task.net`, wrapped by Accelerate
    batches: Iterator[tuple[Tensor, Tensor]]
    class_weights: Tensor | None  # (C,)
    sums: Tensor  # (2,) losses and correct predictions of this process since the last evaluation
    best: dict[str, Tensor] | None  # the selected weights; None before the first evaluation
    spent: Callable[[], tuple[float, float]]  # seconds and joules of the run so far
    optimizer: torch.optim.Optimizer | None = None
    scheduler: LambdaLR | None = None
    ema: ModelEmaV3 | None = None  # the average of the weights of this phase

    def parts(self, task: Task) -> dict[str, Any]:
        """The content of a checkpoint, besides the progress."""
        return {
            "net": task.net,
            "optimizer": self.optimizer,
            "scheduler": self.scheduler,
            "scaler": task.accelerator.scaler,
            "ema": self.ema and self.ema.module,
        }


def create_state(task: Task, checkpoints: CheckpointConfig | None, saved: dict[str, Any] | None) -> TrainState:
    accelerator = task.accelerator
    progress = Progress(**saved["progress"]) if saved else Progress()
    if saved:
        progress.resumed_at.append(progress.step)
    return TrainState(
        progress=progress,
        model=accelerator.prepare_model(task.net),
        batches=task.train.train(task.augment, task.seed, progress.step),
        class_weights=task.train.class_weights if task.recipe.class_weights else None,
        sums=torch.tensor(progress.sums, device=accelerator.device) / accelerator.num_processes,
        best=checkpoint.best_weights(checkpoints.folder) if progress.best else None,
        spent=_meter(progress, accelerator),
    )


def _meter(progress: Progress, accelerator: Accelerator) -> Callable[[], tuple[float, float]]:
    """Returns a function that reads the seconds and joules of the run, including earlier sessions."""
    start = time.perf_counter() - progress.seconds
    read = energy.meter(accelerator.device)
    offset = read() - progress.joules / accelerator.num_processes

    def spent() -> tuple[float, float]:
        joules = torch.tensor(read() - offset, device=accelerator.device)
        return time.perf_counter() - start, accelerator.reduce(joules, "sum").item()

    return spent


def start_phase(task: Task, state: TrainState, saved: dict[str, Any] | None) -> None:
    """Create the optimizer and load the best weights so far, or load everything from a checkpoint."""
    progress = state.progress
    if state.best and progress.step == progress.phase_start:
        task.net.load_state_dict(state.best)
    optimizer, state.scheduler = optimizer_and_schedule(task.net, task.head, task.recipe.phases[progress.phase])
    state.optimizer = task.accelerator.prepare_optimizer(optimizer)
    if decay := task.recipe.ema_decay:
        state.ema = ModelEmaV3(task.net, decay=decay, use_warmup=True)
    if saved:
        checkpoint.restore(state.parts(task), saved)


def set_train_mode(model: nn.Module, recipe: Recipe) -> None:
    """Training mode; with pretrained statistics, batch norm normalises as in evaluation and leaves them unchanged."""
    model.train()
    if recipe.batch_norm == "pretrained":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
