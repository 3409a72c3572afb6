"""The loop: batches of training images -> trained weights. There is no test set in this file."""

import math
import time
from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from ..data.loaders import Batches
from ..errors import UserError
from ..spec import Augment, Phase, Recipe

Scores = dict[str, float]


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
) -> dict:
    """Train `net` in place and leave it with the weights of its best epoch.

    `choose` is asked after each epoch for a score (higher is better) and what else to log; the first of equal scores
    wins. `log` gets a record per epoch. Returns the record of the best one.

    Raises:
        UserError: the loss is no longer a number.
    """
    model = accelerator.prepare_model(net)
    best, best_score, best_state, epoch = {}, -math.inf, None, 0
    for phase in recipe.phases:
        if best_state:
            net.load_state_dict(best_state)
        optimizer = _optimizer(net, head, phase)
        factor = _schedule(phase, phase.epochs * train.steps)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        optimizer = accelerator.prepare_optimizer(optimizer)
        for _ in range(phase.epochs):
            epoch += 1
            title = f"epoch {epoch}/{recipe.epochs}"
            batches = train.train(augment, seed, epoch)
            record = _one_epoch(
                model,
                batches,
                optimizer,
                scheduler,
                recipe,
                accelerator,
                title,
                train.steps * train.micro_batches,
            )
            _share_buffers(net, accelerator)
            score, scores = choose(net)
            record = {"epoch": epoch, "lr": scheduler.get_last_lr()[0], **record, **scores}
            log(record)
            if score > best_score:
                best, best_score = record, score
                best_state = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(best_state)
    return best


def _one_epoch(
    model: nn.Module,
    batches: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LambdaLR,
    recipe: Recipe,
    accelerator: Accelerator,
    title: str,
    steps: int,
) -> Scores:
    model.train()
    totals = torch.zeros(2, device=accelerator.device)  # loss and right answers, summed where they lie
    seen = 0
    bar = tqdm(
        batches,
        title,
        steps,
        unit="batch",
        leave=False,
        disable=None if accelerator.is_main_process else True,
    )
    start = shown = time.perf_counter()
    waits: list[float] = []
    for images, labels in _timed(bar, waits):
        with accelerator.accumulate(model):  # of several micro-batches the last one steps
            with accelerator.autocast():
                logits = model(images)
                loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            if accelerator.sync_gradients and not optimizer.step_was_skipped:  # float16 skips an overflow
                scheduler.step()
        seen += len(labels)
        with torch.no_grad():
            totals += torch.stack((loss.float() * len(labels), (logits.argmax(1) == labels).sum()))
        if (
            now := time.perf_counter()
        ) - shown > 0.5 and not bar.disable:  # reading makes the host wait: seldom
            shown = now
            loss_sum, right_sum = totals.tolist()
            bar.set_postfix_str(
                f"loss {loss_sum / seen:.3f}, top1 {100 * right_sum / seen:.1f} %, "
                f"{accelerator.num_processes * seen / (now - start):.0f} img/s"
            )
    seen *= accelerator.num_processes
    loss_sum, right_sum = accelerator.reduce(totals, "sum").tolist()
    seconds = time.perf_counter() - start
    if not math.isfinite(loss_sum):
        raise UserError(f"the loss is no longer a number in {title}: try a lower --lr or --precision fp32")
    return {
        "train_loss": loss_sum / seen,
        "train_top1": right_sum / seen,
        "train_seconds": seconds,
        "data_seconds": sum(
            waits
        ),  # of them, until batches were there; on a GPU the host's, which runs ahead
        "train_images_per_second": seen / seconds,
    }


def _timed(batches: Iterable, waits: list[float]) -> Iterator:
    """The batches; `waits` gets the seconds until each was there."""
    batches, end = iter(batches), object()
    while True:
        asked = time.perf_counter()
        batch = next(batches, end)
        waits.append(time.perf_counter() - asked)
        if batch is end:
            return
        yield batch


def _share_buffers(net: nn.Module, accelerator: Accelerator) -> None:
    """Give every process the first one's statistics: each has seen its own share, one network is to be judged."""
    if accelerator.num_processes > 1:
        for buffer in net.buffers():
            torch.distributed.broadcast(buffer, 0)


def _optimizer(net: nn.Module, head: str, phase: Phase) -> torch.optim.Optimizer:
    """Four groups: body and head, each with and without weight decay (norms, scales and biases go without)."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        key = (name.startswith(f"{head}."), parameter.squeeze().ndim > 1 and "bias" not in name)
        groups.setdefault(key, []).append(parameter)
    options = [
        {
            "params": parameters,
            "lr": phase.lr * (phase.head_lr if in_head else 1),
            "weight_decay": phase.weight_decay if decayed else 0.0,
        }
        for (in_head, decayed), parameters in groups.items()
    ]
    if phase.optimizer == "sgd":
        return torch.optim.SGD(options, lr=phase.lr, momentum=0.9, fused=True)
    return torch.optim.AdamW(options, lr=phase.lr, fused=True)


def _schedule(phase: Phase, steps: int) -> Callable[[int], float]:
    warmup = math.ceil(phase.warmup * steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if phase.schedule == "constant":
            return 1.0
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

    return factor
