"""Does every network of the table come out of an export as it went in? ONNX by onnxruntime, TorchScript by torch.

    python benchmarks/export_all.py                                       # an hour on two CPU cores

Random weights and, so that batch norm does something, statistics of two random batches. 64 pixels, or as few as it takes.
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

from common import export, results  # noqa: E402
from common.models import backbones  # noqa: E402
from common.models.modern import MODERN  # noqa: E402
from common.models.table import BACKBONES, CIFAR  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="export every network and compare")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/export.json")
    parser.add_argument("--models", nargs="+", default=[row.name for row in (*BACKBONES, *MODERN, *CIFAR)])
    args = parser.parse_args()
    rows: list[dict] = []
    about = {name: version(name) for name in ("torch", "timm", "onnx", "onnxscript", "onnxruntime")}
    for name in args.models:
        row = backbones.find(name)
        side = row.size if row.fixed_size else max(64, row.min_size)
        torch.manual_seed(0)
        net = backbones.build(row, 10, None).train()
        with torch.no_grad():
            for _ in range(2):
                net(torch.randn(4, 3, side, side))
        told = {"backbone": name, "classes": [], "native": None, "preprocess": row.preprocess((side, side))}
        with tempfile.TemporaryDirectory() as folder:
            for kind in ("onnx", "torchscript"):
                start = time.perf_counter()
                difference = export.written(net.eval(), told, kind, Path(folder, f"x{export.SUFFIX[kind]}"))
                seconds = round(time.perf_counter() - start, 1)
                rows.append(
                    {
                        "backbone": name,
                        "format": kind,
                        "pixels": side,
                        "difference": difference,
                        "seconds": seconds,
                    }
                )
                print(*rows[-1].values(), flush=True)
        results.write_json(
            args.out, {**about, "commit": results.commit(), "device": results.cpu_name(), "rows": rows}
        )


if __name__ == "__main__":
    main()
