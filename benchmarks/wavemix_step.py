"""How long a training step of WaveMix takes: ours against the PyPI package `wavemix`, interleaved in one run.

    python benchmarks/wavemix_step.py --out benchmarks/results/wavemix_step.json

Three parts, each forward and backward: the wavelet pyramid of a block, one block, the network of 16 blocks.
The reference needs: pip install --no-deps wavemix pywavelets einops
"""

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # a plain `python benchmarks/wavemix_step.py` sees only its own folder

from common.models.wavemix import WaveBlock, WaveMix, pyramid  # noqa: E402

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # the package chooses alike, and only when imported
WARMUP = 2  # untimed steps of each

Forward = Callable[[Tensor], Tensor]


def reference() -> ModuleType:
    """The package, which needs a module of NumPy 1 for a name that it never uses."""
    numpy_1 = ModuleType("numpy.lib.function_base")
    numpy_1.hamming = None
    sys.modules[numpy_1.__name__] = numpy_1
    try:
        importlib.import_module("wavemix.classification")
    finally:
        del sys.modules[numpy_1.__name__]
    return sys.modules["wavemix"]


def parts(package: ModuleType, size: int) -> dict[str, tuple[Forward, Forward, tuple[int, int, int]]]:
    """name -> theirs, ours, and the (C, H, W) of what they are fed, for images of `size` pixels."""

    def their_wavelet(x: Tensor) -> Tensor:
        low3, highs = package.xf3(x)
        lows = package.xf1(x)[0], package.xf2(x)[0], low3  # so do the package's blocks get their low bands
        bands = zip(lows, (high.flatten(1, 2) for high in highs), strict=True)
        return sum(torch.cat(level, dim=1).sum() for level in bands)

    def our_wavelet(x: Tensor) -> Tensor:
        return sum(torch.cat(level, dim=1).sum() for level in pyramid(x, levels=3))

    width, side = 192, size // 4  # of the maps behind the patch stem
    block = {"mult": 2, "ff_channel": 192, "dropout": 0.5}
    blocks = package.Level3Waveblock(final_dim=width, **block), WaveBlock(width, level=3, **block)
    networks = package.classification.WaveMix(), WaveMix()
    return {
        "wavelet": (their_wavelet, our_wavelet, (width // 4, side, side)),
        "block": (*(each.to(DEVICE) for each in blocks), (width, side, side)),
        "network": (*(each.to(DEVICE) for each in networks), (3, size, size)),
    }


def step_seconds(forward: Forward, x: Tensor) -> float:
    """One forward and backward pass, until the device is done; autocast where the input is bfloat16."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.autocast(DEVICE, torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        # Backward belongs outside autocast, but there the package's float32 filters meet bfloat16 gradients.
        forward(x).sum().backward()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(theirs: Forward, ours: Forward, x: Tensor, n: int) -> dict[str, float]:
    """Medians of `n` steps of each, in milliseconds, taken in turn: a busy machine slows both alike."""
    rounds = [(step_seconds(theirs, x), step_seconds(ours, x)) for _ in range(WARMUP + n)]
    package_ms, ours_ms = (1000 * statistics.median(times) for times in zip(*rounds[WARMUP:], strict=True))
    return {
        "package_ms": round(package_ms, 2),
        "ours_ms": round(ours_ms, 2),
        "ratio": round(package_ms / ours_ms, 2),
    }


def hardware() -> str:
    """The name of the GPU, or of the CPU and how many threads of it are used."""
    if DEVICE == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {torch.get_num_threads()} threads"


def main() -> None:
    parser = argparse.ArgumentParser(description="time a training step of WaveMix, ours and the package's")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/wavemix_step.json")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--size", type=int, default=128, help="pixels per side, a multiple of 32")
    parser.add_argument("-n", type=int, default=7, help="timed steps of each")
    args = parser.parse_args()

    medians = []
    for part, (theirs, ours, shape) in parts(reference(), args.size).items():
        for precision in ("float32", "bfloat16"):
            x = torch.randn(args.batch, *shape, device=DEVICE, dtype=getattr(torch, precision))
            x.requires_grad_(part != "network")  # images get no gradient, feature maps do
            row = {"part": part, "precision": precision, **compare(theirs, ours, x, args.n)}
            medians.append(row)
            print(f"{part:8} {precision:8} {row['package_ms']:8.1f} ms -> {row['ours_ms']:8.1f} ms", end="")
            print(f"   {row['ratio']:.2f} times as fast", flush=True)

    result = {
        "hardware": hardware(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "n": args.n,
        "batch": args.batch,
        "image_size": args.size,
        "medians": medians,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
