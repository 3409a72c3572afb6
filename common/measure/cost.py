"""What a network costs: parameters, MACs at the size in use, images per second, peak memory."""

import resource
import sys
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def macs(net: nn.Module, size: tuple[int, int]) -> int:
    """Multiply-accumulates of convolutions and matrix products for one (3, H, W) image.

    torch counts two operations for each; published "GFLOPs" of networks are these MACs.
    """
    device = next(net.parameters()).device
    was_training = net.training
    net.eval()
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        net(torch.zeros(1, 3, *size, device=device))
    net.train(was_training)
    return counter.get_total_flops() // 2


def peak_memory(device: torch.device) -> int:
    """Bytes at the worst moment so far: allocated on the GPU, or resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Clock:
    """Seconds of a `with` block, the device's queue included."""

    def __init__(self, device: torch.device):
        self.device = device

    def __enter__(self) -> "Clock":
        self._start = self._now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = self._now() - self._start

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
