"""The fastest precision, memory format and compilation of a network on this machine, timed once and cached."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from ..errors import disk_errors
from ..files.atomic import atomic_write
from ..files.disk_cache import CACHE_VARIABLE, cache_dir
from ..metrics import cost
from .cpu_kernels import move_to
from .device import Speed, autocast, batch_errors, fast_precisions, is_compile_error, is_out_of_memory, prepare

FORMAT = 3  # increased when older timings are no longer valid


@dataclass(frozen=True)
class Timing:
    """How many training steps are timed."""

    warmup: int = 2
    min_steps: int = 3
    max_steps: int = 20
    max_seconds: float = 10.0  # after `min_steps`


Batch = tuple[int, int, int, int]  # (B, 3, H, W) of a forward pass
Times = dict[str, float]


@dataclass(frozen=True)
class TrainingSteps:
    """The steps of a run, and the forward passes of each."""

    n: int
    micro_batches: int
    batch: Batch


def tune(
    build: Callable[[], nn.Module], name: str, device: torch.device, machine: str, precision: str, steps: TrainingSteps
) -> Speed:
    """The setting in which the training steps take the least time, compilation included.

    Precision auto: the fastest one. Only the fastest eager setting is also timed compiled, in all modes. Timings are
    cached per network, device, shape and version of torch.

    Raises:
        UserError: out of memory in every setting.
    """
    key = {
        "form": FORMAT,
        "backbone": name,
        "device": machine,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "precision": precision,
        "batch": steps.batch,
        "compile_modes": (modes := compile_modes(device, steps.micro_batches)),
    }
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    path = cache_dir() / "tuned" / f"{digest}.json"
    with disk_errors(cache_dir(), CACHE_VARIABLE):
        path.parent.mkdir(parents=True, exist_ok=True)  # may fail: before the timing
        if not path.exists():
            print(f"timing precisions, memory formats and compilation of {name}", file=sys.stderr)
            times = [
                {**asdict(speed), **seconds}
                for speed, seconds in _measure(build, device, precision, steps.batch, modes)
            ]
            with atomic_write(path, CACHE_VARIABLE) as part:
                part.write_text(json.dumps({**key, "times": times}, indent=1), "utf-8")
    times = json.loads(path.read_text("utf-8"))["times"]
    passes = steps.n * steps.micro_batches
    best = min(times, key=lambda t: t["start_seconds"] + passes * t["step_seconds"])
    return Speed(**{field: best[field] for field in asdict(Speed())})


def compile_modes(device: torch.device, micro_batches: int) -> tuple[str, ...]:
    """The modes of `torch.compile` that may be the fastest on a device.

    The last two of a GPU use CUDA graphs, in which torch accumulates no gradients over micro-batches.
    """
    if device.type != "cuda":
        return ("default",)
    if micro_batches > 1:
        return ("default", "max-autotune-no-cudagraphs")
    return ("default", "reduce-overhead", "max-autotune")


def _measure(
    build: Callable[[], nn.Module], device: torch.device, precision: str, batch: Batch, modes: Sequence[str]
) -> list[tuple[Speed, Times]]:
    """The times of all settings, without those that need too much memory or a missing compiler."""
    precisions = fast_precisions(device) if precision == "auto" else [precision]
    plain = [Speed(precision=p, channels_last=last) for p in precisions for last in (True, False)]
    times: list[tuple[Speed, Times]] = []

    def add(speed: Speed, last_chance: bool) -> None:
        try:
            times.append((speed, step_times(build, device, batch, speed)))
        except RuntimeError as error:
            if last_chance or not (is_out_of_memory(error) or is_compile_error(error)):
                raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        bar.update()

    with tqdm(total=len(plain) + len(modes), desc="tune", unit="setting", leave=False, disable=None) as bar:
        with batch_errors(batch[0]):
            for speed in plain:
                add(speed, last_chance=speed == plain[-1] and not times)
        fastest, _ = min(times, key=lambda t: t[1]["step_seconds"])
        for mode in modes:
            add(replace(fastest, compile_mode=mode), last_chance=False)
            torch.compiler.reset()  # frees what the mode has compiled and, with its CUDA graphs, their memory
    return times


def step_times(
    build: Callable[[], nn.Module], device: torch.device, batch: Batch, speed: Speed, timing: Timing = Timing()
) -> Times:
    """The seconds of the fastest training step, which other processes disturbed least, and the extra ones of the first steps."""
    prepare(device, speed.precision)
    memory_format = torch.channels_last if speed.channels_last else torch.contiguous_format
    net = build().train()
    move_to(net, device, memory_format)
    if speed.compile_mode:
        net.compile(mode=speed.compile_mode, dynamic=False)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, fused=True)
    images = torch.randn(batch, device=device).contiguous(memory_format=memory_format)
    labels = torch.zeros(len(images), dtype=torch.int64, device=device)

    def step() -> float:
        elapsed = cost.stopwatch(device)
        with autocast(device, speed.precision):
            loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return elapsed()

    with cost.Timer(device) as first:  # the wall clock: compilers are other processes
        for _ in range(timing.warmup):
            step()
    seconds: list[float] = []
    start = time.perf_counter()
    while len(seconds) < timing.min_steps or (
        len(seconds) < timing.max_steps and time.perf_counter() - start < timing.max_seconds
    ):
        seconds.append(step())
    fastest = min(seconds)
    return {"step_seconds": fastest, "start_seconds": max(0.0, first.seconds - timing.warmup * fastest)}
