"""The steps of the optimizer between two evaluations."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from tqdm import tqdm

from ..data.augment.augment import derive_seed
from .task import Task
from .train_state import TrainState


def train_step(task: Task, state: TrainState) -> None:
    """Forward and backward passes of all micro-batches, then one update; counts in `state.progress` and `state.sums`."""
    accelerator, progress = task.accelerator, state.progress
    torch.manual_seed(derive_seed("step", task.seed, progress.step, accelerator.process_index))
    sums = torch.zeros(2, device=accelerator.device)  # stays on the device: reading it would synchronize
    for _ in range(task.train.micro_batches):
        start = time.perf_counter()
        images, labels = next(state.batches)
        progress.data_seconds += time.perf_counter() - start
        with accelerator.accumulate(state.model):  # the last micro-batch updates the weights
            with accelerator.autocast():
                logits = state.model(images)
                losses = F.cross_entropy(
                    logits, labels, state.class_weights, reduction="none", label_smoothing=task.recipe.label_smoothing
                )
                # not divided by the sum of the class weights, which differs between micro-batches
                loss = losses.mean()
            accelerator.backward(loss)
            state.optimizer.step()
            state.optimizer.zero_grad()
            if accelerator.sync_gradients:
                state.scheduler.step()
        progress.images += len(labels) * accelerator.num_processes
        with torch.no_grad():
            sums += torch.stack((loss.float() * len(labels), (logits.argmax(1) == labels).sum()))
    progress.step += 1
    state.sums += sums


def steps(task: Task, state: TrainState, end: int) -> Iterator[None]:
    """Yield once per step until `end`; times the steps and shows a progress bar."""
    accelerator, progress = task.accelerator, state.progress
    start = refreshed = time.perf_counter()
    before = progress.train_seconds
    disable = None if accelerator.is_main_process else True  # None: shown only on a terminal
    with tqdm(initial=progress.step, total=task.recipe.steps, unit="step", leave=False, disable=disable) as bar:
        while progress.step < end:
            yield
            now = time.perf_counter()
            progress.train_seconds = before + now - start
            bar.update()
            if now - refreshed > 0.5 and not bar.disable:  # reading the sums synchronizes: not at every step
                refreshed = now
                loss, top1 = (accelerator.num_processes * state.sums / progress.images).tolist()
                rate = progress.images / progress.train_seconds
                bar.set_postfix_str(f"loss {loss:.3f}, top-1 {100 * top1:.1f} %, {rate:.0f} img/s")
