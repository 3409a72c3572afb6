"""Which precision, memory format and compilation train a network fastest on this machine: measured, and remembered."""

import hashlib
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from ..atomic import whole
from ..data.cache import place
from ..spec import Speed
from .device import fast_precisions

STEPS = 20  # of each setting
SECONDS = 10.0  # a slow network need not take them all,
LEAST = 3  # but so many
WARM_UP = 2


def tune(
    build: Callable[[], nn.Module],
    name: str,
    device: torch.device,
    machine: str,
    precision: str,
    batch: tuple[int, int, int, int],
    steps: int,
) -> Speed:
    """The setting in which `steps` training steps take the least time, compilation included.

    `batch` is the shape (B, 3, H, W) of a forward pass; `precision` auto lets the measurement choose. Compiled is
    tried what is fastest as it is. The times are kept beside the cached images, per network, device, shape and
    version of torch.
    """
    about = {
        "backbone": name,
        "device": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
        "batch": batch,
    }
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    kept = place() / "tuned" / f"{key}.json"
    if not kept.exists():
        times = [{**asdict(speed), **took} for speed, took in _measure(build, device, precision, batch)]
        kept.parent.mkdir(parents=True, exist_ok=True)
        with whole(kept) as part:
            part.write_text(json.dumps({**about, "times": times}, indent=1), "utf-8")
    times = json.loads(kept.read_text("utf-8"))["times"]
    best = min(times, key=lambda took: took["start_seconds"] + steps * took["step_seconds"])
    return Speed(**{field: best[field] for field in asdict(Speed())})


def _measure(
    build: Callable[[], nn.Module], device: torch.device, precision: str, batch: tuple[int, int, int, int]
) -> list[tuple[Speed, dict[str, float]]]:
    precisions = fast_precisions(device) if precision == "auto" else [precision]
    plain = [Speed(precision=p, channels_last=last) for p in precisions for last in (True, False)]
    times: list[tuple[Speed, dict[str, float]]] = []
    with tqdm(total=len(plain) + 1, desc="tune", unit="setting", leave=False, disable=None) as bar:
        for speed in plain:
            times.append((speed, _time(build, device, batch, speed)))
            bar.update()
        fastest, _ = min(times, key=lambda told: told[1]["step_seconds"])
        compiled = replace(fastest, compiled=True)
        times.append((compiled, _time(build, device, batch, compiled)))
        bar.update()
    return times


def _time(
    build: Callable[[], nn.Module], device: torch.device, batch: tuple[int, int, int, int], speed: Speed
) -> dict[str, float]:
    """Seconds of a step, the median, and seconds until the first one is done beyond that."""
    form = torch.channels_last if speed.channels_last else torch.contiguous_format
    net = build().to(device, memory_format=form).train()
    if speed.compiled:
        net.compile()
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, fused=True)
    images = torch.randn(batch, device=device).contiguous(memory_format=form)
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)
    number = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(speed.precision)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(device.type, number, enabled=number is not None):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    first = sum(step() for _ in range(WARM_UP))
    seconds: list[float] = []
    while len(seconds) < LEAST or (len(seconds) < STEPS and sum(seconds) < SECONDS):
        seconds.append(step())
    typical = statistics.median(seconds)
    return {"step_seconds": typical, "start_seconds": max(0.0, first - WARM_UP * typical)}
