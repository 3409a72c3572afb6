"""The training loop: from a task to its fitted weights. There is no test set in this file."""

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ..errors import DIVERGED, Stopped, TrainingError
from ..metrics.classification import standard_error
from ..spec import Recipe
from . import checkpoint
from .checkpoint import CheckpointConfig, Progress
from .heartbeat import progress_writer
from .signals import Interrupted, StopSignal, stop_signal
from .task import Task
from .train_state import TrainState, create_state, set_train_mode, start_phase
from .train_step import steps, train_step


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The selected weights, and the records of all evaluations."""

    weights: dict[str, Tensor]
    best: dict[str, Any]  # the record of the selected weights
    best_score: float  # the highest of all evaluations
    records: list[dict[str, Any]]
    seconds: float  # of training and evaluation, over all sessions of the run
    joules: float | None  # of all GPUs in this time; None: not measured
    resumed_at: list[int]  # steps


def finetune(
    task: Task,
    log: Callable[[dict[str, Any]], None],
    checkpoints: CheckpointConfig | None = None,
    saved: dict[str, Any] | None = None,
) -> Fitted:
    """Train `task.net` in place and leave the last weights in it; the selected ones are returned.

    `log` gets a record per evaluation. From a checkpoint, `saved`, training continues as if it had not been interrupted,
    bit by bit.

    Raises:
        UserError: the loss is NaN or infinite.
        Stopped: a signal was received and a checkpoint written; without `checkpoints` signals are not handled.
    """
    recipe, state = task.recipe, create_state(task, checkpoints, saved)
    progress = state.progress
    write_progress = (
        progress_writer(checkpoints.folder, recipe.steps, progress.seconds)
        if checkpoints and checkpoints.write
        else lambda _: None
    )
    with stop_signal(task.accelerator) if checkpoints else nullcontext(StopSignal(task.accelerator)) as stop:

        def save_or_stop(due: bool = False, better: bool = False) -> None:
            signal = stop.received(progress.step)
            if checkpoints and (signal or due or progress.step % checkpoints.every == 0):
                _save(task, state, checkpoints, better)
            if signal:
                raise Stopped(signal, progress.step)

        while progress.phase < len(recipe.phases):
            start_phase(task, state, saved)
            saved = None
            if task.evaluate_first and not progress.records:
                save_or_stop(due=True, better=_evaluate(task, state, log, stop))
            while _evaluation_due(recipe, progress) or not _phase_ended(recipe, progress):
                end = _next_evaluation(recipe, progress)
                set_train_mode(state.model, recipe)
                for _ in steps(task, state, end):
                    train_step(task, state)
                    write_progress(progress)
                    if progress.step < end:  # otherwise after the evaluation
                        save_or_stop()
                better = _evaluate(task, state, log, stop)
                save_or_stop(due=better or _phase_ended(recipe, progress), better=better)
            progress.phase += 1
            progress.phase_start = progress.step
    if state.ema:
        task.net.load_state_dict(state.ema.module.state_dict())
    seconds, joules = state.spent()
    return Fitted(
        weights=state.best,
        best=progress.best,
        best_score=progress.best_score,
        records=progress.records,
        seconds=seconds,
        joules=None if math.isnan(joules) else joules,
        resumed_at=progress.resumed_at,
    )


def _phase_ended(recipe: Recipe, progress: Progress) -> bool:
    phase = recipe.phases[progress.phase]
    return progress.step == progress.phase_start + phase.steps or _out_of_patience(phase.patience, progress)


def _out_of_patience(patience: int | None, progress: Progress) -> bool:
    """Whether there were `patience` evaluations since the last selection of weights, or since the phase began."""
    start = max(progress.best.get("step", 0), progress.phase_start)
    return patience is not None and sum(r["step"] > start for r in progress.records) >= patience


def _evaluation_due(recipe: Recipe, progress: Progress) -> bool:
    """Whether the run was stopped in the evaluation of this step."""
    since = progress.step - progress.phase_start
    ends = since == recipe.phases[progress.phase].steps or since % recipe.eval_every == 0
    return since > 0 and ends and (not progress.records or progress.records[-1]["step"] < progress.step)


def _next_evaluation(recipe: Recipe, progress: Progress) -> int:
    """The step after which the network is evaluated: a multiple of `eval_every` in the phase, or its last."""
    if _evaluation_due(recipe, progress):
        return progress.step
    since = (progress.step - progress.phase_start) % recipe.eval_every
    end = progress.phase_start + recipe.phases[progress.phase].steps
    return min(end, progress.step - since + recipe.eval_every)


def _evaluate(task: Task, state: TrainState, log: Callable[[dict[str, Any]], None], stop: StopSignal) -> bool:
    """Validate the network and log its record; returns whether its weights are selected.

    A signal interrupts it; no record is left.
    """
    progress, net = state.progress, state.ema.module if state.ema else task.net
    record = _training_record(task, state) if progress.step else {"step": 0, "epoch": 0}
    _share_buffers(net, task.accelerator)
    try:
        with stop.interrupts():
            score, scores = task.validate(net)
    except Interrupted:
        return False
    _check_finite(score, progress)
    _reset_counters(state)
    record |= scores
    progress.records.append(record)
    log(record)
    if not progress.step:
        progress.initial_score = score
    tolerance = 0.0
    if task.n_selection:
        tolerance = task.recipe.tolerance * standard_error(max(progress.best_score, 0.0), task.n_selection)
    if better := score > progress.best_score - tolerance and score >= progress.initial_score:
        progress.best, progress.best_score = record, max(score, progress.best_score)
        state.best = {key: value.clone() for key, value in net.state_dict().items()}
    return better


def _training_record(task: Task, state: TrainState) -> dict[str, Any]:
    """Statistics of the training batches since the last evaluation.

    Raises:
        UserError: the loss is NaN or infinite.
    """
    progress, epoch = state.progress, task.train.steps
    begin = time.perf_counter()
    loss, top1 = (task.accelerator.reduce(state.sums, "sum") / progress.images).tolist()
    progress.train_seconds += time.perf_counter() - begin
    _check_finite(loss, progress)
    return {
        "step": progress.step,
        "epoch": progress.step // epoch if progress.step % epoch == 0 else round(progress.step / epoch, 3),
        "lr": max(state.scheduler.get_last_lr()),
        "train_loss": loss,
        "train_top1": top1,
        "train_seconds": progress.train_seconds,
        "data_seconds": progress.data_seconds,  # waiting for batches; the host's time, which runs ahead of a GPU
        "train_images_per_second": progress.images / progress.train_seconds,
    }


def _reset_counters(state: TrainState) -> None:
    """Count training batches anew after an evaluation."""
    state.sums.zero_()
    state.progress.images, state.progress.train_seconds, state.progress.data_seconds = 0, 0.0, 0.0


def _save(task: Task, state: TrainState, checkpoints: CheckpointConfig, better: bool) -> None:
    progress = state.progress
    progress.seconds, progress.joules = state.spent()
    progress.sums = task.accelerator.reduce(state.sums, "sum").tolist()
    _check_finite(progress.sums[0], progress)
    checkpoint.save(checkpoints, progress, state.parts(task), better)


def _check_finite(number: float, progress: Progress) -> None:
    """Raises: TrainingError: a loss or a score is NaN or infinite; it is never in a checkpoint."""
    if not math.isfinite(number):
        raise TrainingError(f"{DIVERGED} before step {progress.step}: try a lower --lr or --precision fp32")


def _share_buffers(net: nn.Module, accelerator: Accelerator) -> None:
    """Broadcast the first process' buffers (batch-norm statistics), so that all evaluate the same network."""
    if accelerator.num_processes > 1:
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)
