"""The steps of the optimizer between two evaluations."""

import time
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from ..data.augment.augment import derive_seed
from ..spec import Recipe
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
            weight = _mixup_weight(task.recipe.mixup_alpha)
            with accelerator.autocast():
                logits = state.model(images if weight == 1 else images.lerp(images.roll(1, 0), 1 - weight))
                loss = _loss(logits, labels, state.class_weights, task.recipe)
                if weight < 1:
                    loss = weight * loss + (1 - weight) * _loss(
                        logits, labels.roll(1), state.class_weights, task.recipe
                    )
            accelerator.backward(loss)
            state.optimizer.step()
            state.optimizer.zero_grad()
            if accelerator.sync_gradients:
                state.scheduler.step()
        progress.images += len(labels) * accelerator.num_processes
        with torch.no_grad():
            sums += torch.stack((loss.float() * len(labels), (logits.argmax(1) == labels).sum()))
    progress.step += 1
    if state.ema:
        state.ema.update(task.net, progress.step - progress.phase_start)
    state.sums += sums


def _mixup_weight(alpha: float) -> float:
    """The weight of an image in its mixture with its neighbour, at least a half: mixup, Zhang et al. 2018, arXiv 1710.09412."""
    if not alpha:
        return 1.0
    weight = torch.distributions.Beta(alpha, alpha).sample().item()  # on the CPU
    return max(weight, 1 - weight)


def _loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None, recipe: Recipe) -> Tensor:
    """Not divided by the sum of the class weights, which differs between micro-batches."""
    return F.cross_entropy(
        logits, labels, class_weights, reduction="none", label_smoothing=recipe.label_smoothing
    ).mean()


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
