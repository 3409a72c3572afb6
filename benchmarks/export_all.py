"""Does every network of the table come out of an export as it went in? ONNX by onnxruntime, TorchScript by torch.

    python benchmarks/export_all.py                                       # an hour on two CPU cores

Random weights; 64 pixels, 128 where that is too few, or as many as it takes. What two random batches have left in batch norm, and scales and biases that
are no longer ones and zeros, keep an image's signal alive up to the logits: `spread` is the standard deviation of a logit over
8 random images, beside which a difference can be seen to be small. The images are those of the comparison, 0 to 1 and
normalised: on others such a network may be so far from what its batch norm knows that float32 itself is wrong by a third
(EfficientNetV2-S), and Inception at 96 pixels is at the limit. Rows that the file holds already stay.
"""

import argparse
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from torch import nn  # noqa: E402

from common.deploy import export  # noqa: E402
from common.models import build  # noqa: E402
from common.models.registry import (  # noqa: E402
    BACKBONES,
    CIFAR,
    MODERN,
    Backbone,
)
from common.run import provenance, results  # noqa: E402


def network(row: Backbone, side: int) -> tuple[nn.Module, float]:
    """And its spread. Random, and alive in evaluation mode: fresh layer scales (1e-6) and batch statistics let hardly anything through."""
    torch.manual_seed(0)
    net = build.create_model(row, 10, None).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the mean over all batches, not a trace of them
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (row.mean, row.std))

    def images(n: int) -> torch.Tensor:
        return (torch.rand(n, 3, side, side) - mean) / std

    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.numel() == max(parameter.shape, default=1):  # a scale or a bias
                parameter.add_(0.1 * torch.randn_like(parameter))
        for _ in range(2):
            net(images(8))
        return net, net.eval()(images(8)).std(0).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="export every network and compare")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/export.json")
    parser.add_argument("--models", nargs="+", default=[row.name for row in (*BACKBONES, *MODERN, *CIFAR)])
    args = parser.parse_args()
    rows: list[dict] = results.read_json(args.out) if args.out.exists() else []
    there = {row["backbone"] for row in rows}
    about = {name: version(name) for name in ("torch", "timm", "onnx", "onnxscript", "onnxruntime")}
    about |= {"commit": provenance.commit(), "device": provenance.cpu_name()}
    for name in (name for name in args.models if name not in there):
        row = build.get_backbone(name)
        side = row.size if row.fixed_size else 64 if row.min_size <= 64 else 128
        net, spread = network(row, side)
        told = {"backbone": name, "classes": [], "native": None, "preprocess": row.preprocess((side, side))}
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("onnx", "torchscript"):
                start = time.perf_counter()
                difference = export.write_verified(net, told, kind, Path(folder, f"x{export.SUFFIX[kind]}"))
                seconds = round(time.perf_counter() - start, 1)
                rows.append(
                    {
                        "backbone": name,
                        "format": kind,
                        "pixels": side,
                        "difference": difference,
                        "spread": spread,
                        "seconds": seconds,
                        **about,
                    }
                )
                print(name, kind, side, difference, spread, seconds, flush=True)
        results.write_json(args.out, rows)


if __name__ == "__main__":
    main()
