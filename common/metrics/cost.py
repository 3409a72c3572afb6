"""The cost of a network: parameters, MACs, seconds, peak memory."""

import ctypes
import gc
import math
import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one (3, H, W) image.

    torch counts two operations per MAC; the "GFLOPs" of papers are these MACs. Attention is computed as two matrix
    products, because not every version of torch counts its fused CPU kernel.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *size, device=device))
    net.train(was_training)
    return counter.get_total_flops() // 2


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-accumulates per second of a large matrix product: the upper limit for a network on the device."""
    n = 8192 if device.type == "cuda" else 2048
    a, b = torch.randn(2, n, n, device=device).to(dtype)
    best = math.inf
    for _ in range(5):
        with Timer(device) as clock:
            a @ b
        best = min(best, clock.seconds)
    return n**3 / best


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory`, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # freed memory that training/device.py keeps
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def peak_memory(device: torch.device) -> int:
    """Bytes: the maximum allocated on the GPU, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with suppress(OSError):
        status = Path("/proc/self/status").read_text().splitlines()
        if lines := [line for line in status if line.startswith("VmHWM")]:
            return int(lines[0].split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Timer:
    """The seconds of a `with` block; waits for the GPU's queue."""

    def __init__(self, device: torch.device):
        self.device = device

    def __enter__(self) -> "Timer":
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._now() - self._start

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def stopwatch(device: torch.device) -> Callable[[], float]:
    """A function that returns the seconds since this call; waits for the GPU's queue.

    On a CPU they are at most the CPU seconds of this process, all its threads together: while other processes have the
    cores, these do not pass. So with one thread a busy machine changes nothing.
    """
    wall, cpu = time.perf_counter(), time.process_time()

    def seconds() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        passed = time.perf_counter() - wall
        return min(passed, time.process_time() - cpu) if device.type == "cpu" else passed

    return seconds
