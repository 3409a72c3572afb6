"""Does every backbone compute the same logits after an export? ONNX in onnxruntime, TorchScript in torch.

    python benchmarks/export_all.py                                       # an hour on two CPU cores

Random weights, at 64 pixels, or 128, or the backbone's minimum. Batch statistics of two random batches and perturbed scales and
biases make logits depend on the images: `spread` is the standard deviation of a logit over 8 random images, the scale for a
difference. The images are normalised like those of the comparison: far from its batch statistics, a random network in float32 is
off by up to a third (EfficientNetV2-S). Rows already in --out are skipped.
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

from torch import nn

from common.deploy import export
from common.models import build
from common.models.registry import BACKBONES, CIFAR, MODERN, Backbone
from common.run import provenance, results


def network(row: Backbone, side: int) -> tuple[nn.Module, float]:
    """A random network and its spread; fresh layer scales (1e-6) and batch statistics would let hardly any signal through."""
    torch.manual_seed(0)
    net = build.create_model(row, 10, None).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # a plain mean over the batches
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
    done = {row["backbone"] for row in rows}
    about = {name: version(name) for name in ("torch", "timm", "onnx", "onnxscript", "onnxruntime")}
    about |= {"commit": provenance.commit(), "device": provenance.cpu_name()}
    for name in (name for name in args.models if name not in done):
        backbone = build.get_backbone(name)
        side = backbone.size if backbone.fixed_size else 64 if backbone.min_size <= 64 else 128
        net, spread = network(backbone, side)
        card = {"backbone": name, "classes": [], "native": None, "preprocess": backbone.preprocess((side, side))}
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("onnx", "torchscript"):
                start = time.perf_counter()
                difference = export.write_verified(net, card, kind, Path(folder, f"x{export.SUFFIX[kind]}"))
                seconds = round(time.perf_counter() - start, 1)
                row = {"backbone": name, "format": kind, "pixels": side, "difference": difference, "spread": spread}
                rows.append({**row, "seconds": seconds, **about})
                print(*row.values(), seconds, flush=True)
        results.write_json(args.out, rows)


if __name__ == "__main__":
    main()
