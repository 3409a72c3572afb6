"""The loop: batches of training images -> trained weights. There is no test set in this file."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from tqdm import tqdm

from ..data.augment.augment import derive_seed
from ..data.loader import Batches
from ..errors import DIVERGED, Stopped, UserError
from ..metrics import energy
from ..metrics.classification import standard_error
from ..spec import Augment, Phase, Recipe
from . import checkpoint
from .checkpoint import CheckpointConfig, Progress
from .heartbeat import progress_writer
from .optimizer import optimizer_and_schedule
from .signals import stop_signal

Scores = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """The weights that were chosen and their record, and the records of all."""

    weights: dict[str, Tensor]
    best: dict
    best_score: float  # of all evaluations
    records: list[dict]
    seconds: float  # of training and evaluation, before and after every break
    joules: float | None  # in the same time, of all GPUs; None: not counted
    breaks: list[int]  # the steps at which the run was taken up again


def finetune(
    net: nn.Module,
    head: str,
    train: Batches,
    augment: Augment,
    choose: Callable[[nn.Module], tuple[float, Scores]],
    recipe: Recipe,
    accelerator: Accelerator,
    seed: int,
    log: Callable[[dict], None],
    keeping: CheckpointConfig | None = None,
    saved: dict | None = None,
    judges: float = 0,
) -> Fitted:
    """Train `net` in place and leave it with its last weights.

    `choose` is asked at every evaluation for a score (higher is better, NaN: the network is lost) and what else to log;
    `judges` is how many images the score is a share of, and the recipe how near to the best score later weights may come and be kept
    (without `judges` the first of the best). `log` gets a record each time. With `keeping` there are checkpoints; from one of
    them, `saved`, the run goes on as if it had never stopped.

    Raises:
        UserError: the loss is no longer a number.
        Stopped: a signal came; there is a checkpoint.
    """
    model = accelerator.prepare_model(net)
    at = Progress(**saved["progress"]) if saved else Progress()
    if saved:
        at.breaks.append(at.step)
    best = checkpoint.best_weights(keeping.folder) if at.best else None
    weights = train.class_weights if recipe.class_weights else None
    started = time.perf_counter() - at.seconds
    meter = energy.meter(accelerator.device)
    before = meter() - at.joules / accelerator.num_processes
    batches = train.train(augment, seed, at.step)
    sums = torch.tensor(at.sums, device=accelerator.device) / accelerator.num_processes

    beat = progress_writer(keeping.folder, recipe.steps) if keeping and keeping.write else lambda at: None

    def joules() -> float:
        return accelerator.reduce(torch.tensor(meter() - before, device=accelerator.device), "sum").item()

    def save(better: bool = False) -> None:
        at.seconds, at.joules = time.perf_counter() - started, joules()
        at.sums = accelerator.reduce(sums, "sum").tolist()
        _check_number(at.sums[0], at)
        checkpoint.save(keeping, at, parts, better)

    with stop_signal(accelerator) if keeping else nullcontext(lambda step: 0) as asked:
        while at.phase < len(recipe.phases):
            phase = recipe.phases[at.phase]
            if best and at.step == at.began:
                net.load_state_dict(best)
            optimizer, scheduler = optimizer_and_schedule(net, head, phase)
            optimizer = accelerator.prepare_optimizer(optimizer)
            parts = {"net": net, "optimizer": optimizer, "scheduler": scheduler, "scaler": accelerator.scaler}
            if saved:
                checkpoint.restore(parts, saved)
                saved = None

            step = _stepper(
                model, batches, train.micro_batches, weights, optimizer, scheduler, recipe, accelerator
            )
            end = at.began + phase.steps
            over = at.step == end or _worn_out(phase, at)
            while not over:
                since = (at.step - at.began) % recipe.eval_every
                until = min(end, at.step - since + recipe.eval_every)
                model.train()
                for _ in _bar(at, until, recipe, sums, accelerator):
                    torch.manual_seed(derive_seed("step", seed, at.step, accelerator.process_index))
                    sums += step(at)
                    beat(at)
                    if at.step == until:  # the evaluation belongs to this step
                        continue
                    signal = asked(at.step)
                    if keeping and (signal or at.step % keeping.every == 0):
                        save()
                    if signal:
                        raise Stopped(signal, at.step)
                record = _record(at, sums, train.steps, scheduler.get_last_lr()[0], accelerator)
                _share_buffers(net, accelerator)
                score, scores = choose(net)
                _check_number(score, at)
                record |= scores
                at.records.append(record)
                log(record)
                reach = recipe.within * standard_error(max(at.best_score, 0.0), judges) if judges else 0.0
                if better := score > at.best_score - reach:
                    at.best, at.best_score = record, max(score, at.best_score)
                    best = {key: value.clone() for key, value in net.state_dict().items()}
                signal, over = asked(at.step), at.step == end or _worn_out(phase, at)
                if keeping and (better or signal or over or at.step % keeping.every == 0):
                    save(better)
                if signal:
                    raise Stopped(signal, at.step)
            at.phase += 1
            at.began = at.step
    spent = joules()
    return Fitted(
        weights=best,
        best=at.best,
        best_score=at.best_score,
        records=at.records,
        seconds=time.perf_counter() - started,
        joules=None if math.isnan(spent) else spent,
        breaks=at.breaks,
    )


def _worn_out(phase: Phase, at: Progress) -> bool:
    """Whether the phase has had its patience: so many evaluations since the weights were kept, or since it began."""
    since = max(at.best.get("step", 0), at.began)
    return phase.patience is not None and sum(r["step"] > since for r in at.records) >= phase.patience


def _stepper(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    micro_batches: int,
    class_weights: Tensor | None,
    optimizer: torch.optim.Optimizer,
    scheduler: LambdaLR,
    recipe: Recipe,
    accelerator: Accelerator,
) -> Callable[[Progress], Tensor]:
    """What takes one step of the optimizer; returns (2,) the sum of the losses and how many answers were right."""

    def step(at: Progress) -> Tensor:
        sums = torch.zeros(2, device=accelerator.device)  # summed where they lie: reading them would wait
        for _ in range(micro_batches):
            asked = time.perf_counter()
            images, labels = next(batches)
            at.data_seconds += time.perf_counter() - asked
            with accelerator.accumulate(model):  # of several micro-batches the last one steps
                with accelerator.autocast():
                    logits = model(images)
                    losses = F.cross_entropy(
                        logits,
                        labels,
                        class_weights,
                        reduction="none",
                        label_smoothing=recipe.label_smoothing,
                    )
                    loss = losses.mean()  # not by the weights of this piece: of many pieces each has others
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
                if accelerator.sync_gradients:
                    scheduler.step()
            at.seen += len(labels) * accelerator.num_processes
            with torch.no_grad():
                sums += torch.stack((loss.float() * len(labels), (logits.argmax(1) == labels).sum()))
        at.step += 1
        return sums

    return step


def _bar(at: Progress, until: int, recipe: Recipe, sums: Tensor, accelerator: Accelerator) -> Iterator[None]:
    """The steps until the next evaluation, shown and timed."""
    quiet = None if accelerator.is_main_process else True
    start = shown = time.perf_counter()
    before = at.train_seconds
    with tqdm(initial=at.step, total=recipe.steps, unit="step", leave=False, disable=quiet) as bar:
        while at.step < until:
            yield
            now = time.perf_counter()
            at.train_seconds = before + now - start
            bar.update()
            if now - shown > 0.5 and not bar.disable:  # reading the sums makes the host wait: seldom
                shown = now
                loss, right = (accelerator.num_processes * sums / at.seen).tolist()
                rate = at.seen / at.train_seconds
                bar.set_postfix_str(f"loss {loss:.3f}, top1 {100 * right:.1f} %, {rate:.0f} img/s")


def _record(at: Progress, sums: Tensor, epoch: int, lr: float, accelerator: Accelerator) -> dict:
    """Training statistics since the last evaluation; resets the counters.

    Raises:
        UserError: the loss is no longer a number.
    """
    waited = time.perf_counter()
    loss, right = (accelerator.reduce(sums, "sum") / at.seen).tolist()
    at.train_seconds += time.perf_counter() - waited
    _check_number(loss, at)
    record = {
        "step": at.step,
        "epoch": at.step // epoch if at.step % epoch == 0 else round(at.step / epoch, 3),
        "lr": lr,
        "train_loss": loss,
        "train_top1": right,
        "train_seconds": at.train_seconds,
        "data_seconds": at.data_seconds,  # of them, until batches were there; on a GPU the host's, which runs ahead
        "train_images_per_second": at.seen / at.train_seconds,
    }
    sums.zero_()
    at.seen, at.train_seconds, at.data_seconds = 0, 0.0, 0.0
    return record


def _check_number(number: float, at: Progress) -> None:
    """Raises: UserError: a loss or a score is no longer a number; the last checkpoint is from before that."""
    if not math.isfinite(number):
        raise UserError(f"{DIVERGED} before step {at.step}: try a lower --lr or --precision fp32")


def _share_buffers(net: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the first one's statistics: each has seen its own share, one network is to be judged."""
    if accelerator.num_processes > 1:
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)
