"""Milliseconds of a WaveMix training step: ours against the PyPI package `wavemix`, interleaved in one run.

    python benchmarks/wavemix_step.py --out benchmarks/results/wavemix_step.json

One block and the network of 16 blocks, forward and backward, in both memory formats: the package is contiguous, our runs are
channels last. `as_run` compares these two, the other ratios the same format. Both keep freed memory (common/training/device.py),
which the package by itself does not. On a busy machine set OMP_WAIT_POLICY=passive.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from common.models.wavemix import WaveBlock, wavemix
from common.models.wavemix_package import load_package, reference_wavemix
from common.run.provenance import device_name
from common.training.device import prepare

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WARMUP = 2  # untimed steps of each

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def parts(package: ModuleType, size: int) -> dict[str, tuple[nn.Module, nn.Module, tuple[int, int, int]]]:
    """name -> the package's, ours, and the (C, H, W) of their input, for images of `size` pixels."""
    width, side = 192, size // 4  # of the feature maps after the stem
    block = {"mult": 2, "ff_channel": 192, "dropout": 0.5}
    blocks = [package.Level3Waveblock(final_dim=width, **block) for _ in range(2)]
    blocks[1] = WaveBlock(blocks[1])
    networks = reference_wavemix(), wavemix()
    return {"block": (*blocks, (width, side, side)), "network": (*networks, (3, size, size))}


def step_seconds(net: nn.Module, x: Tensor) -> float:
    """One forward and backward pass, until the device is done; autocast where the input is bfloat16."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    with torch.autocast(DEVICE, torch.bfloat16, enabled=x.dtype == torch.bfloat16):
        y = net(x)
        # Belongs outside autocast, but there the package's float32 filters meet bfloat16 gradients.
        y.backward(torch.ones_like(y))
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(theirs: nn.Module, ours: nn.Module, x: Tensor, n: int) -> dict[str, dict[str, float]]:
    """Medians of `n` steps of each, in milliseconds, interleaved: a busy machine slows all alike."""
    timed = {
        (side, name): (
            copy.deepcopy(net).to(DEVICE, memory_format=layout),
            x.detach().contiguous(memory_format=layout).requires_grad_(x.requires_grad),
        )
        for side, net in (("package", theirs), ("ours", ours))
        for name, layout in FORMATS.items()
    }
    rounds = [{key: step_seconds(*pair) for key, pair in timed.items()} for _ in range(WARMUP + n)]
    ms = {key: 1000 * statistics.median(each[key] for each in rounds[WARMUP:]) for key in timed}
    ratios = {name: ms["package", name] / ms["ours", name] for name in FORMATS}
    ratios["as_run"] = ms["package", "contiguous"] / ms["ours", "channels_last"]
    return {
        "milliseconds": {" ".join(key): round(value, 2) for key, value in ms.items()},
        "ratios": {name: round(ratio, 3) for name, ratio in ratios.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="time a training step of WaveMix, ours and the package's")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/wavemix_step.json")
    parser.add_argument("--batch", type=int, default=8, help="images per step")
    parser.add_argument("--size", type=int, default=128, help="pixels per side, a multiple of 32")
    parser.add_argument("-n", type=int, default=7, help="timed steps of each")
    args = parser.parse_args()

    prepare(torch.device(DEVICE), "fp32")
    medians = []
    for part, (theirs, ours, shape) in parts(load_package(), args.size).items():
        for precision in ("float32", "bfloat16"):
            x = torch.randn(args.batch, *shape, device=DEVICE, dtype=getattr(torch, precision))
            x.requires_grad_(part == "block")  # images get no gradient, feature maps do
            row = {"part": part, "precision": precision, **compare(theirs, ours, x, args.n)}
            medians.append(row)
            print(part, precision, row["milliseconds"], row["ratios"], flush=True)

    result = {
        "hardware": f"{device_name(torch.device(DEVICE))}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "n": args.n,
        "batch": args.batch,
        "image_size": args.size,
        "medians": medians,
    }
    args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
