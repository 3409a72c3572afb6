"""How far do batch norm's inputs lie from its pretrained statistics, by image size?

    python benchmarks/bn_shift.py --data FOLDER

Of the last third of a network's batch norm layers, on a batch of 128 training images of a dataset: the 95th percentile over channels of
|mean of the batch - running mean| / running standard deviation. `--data` as for recipes.py.
"""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from torch import Tensor, nn

from benchmarks import recipes
from benchmarks.default_runs import RESULTS
from common.models import build

OUT = RESULTS / "bn_shift.json"
NETWORKS = tuple(recipes.NETWORKS)[:-1]  # SqueezeNet has no batch norm
DATASETS = ("flowers102", "eurosat")
SIDES = (64, 128, 224)
IMAGES = 128


def shift(net: nn.Module, images: Tensor) -> float:
    """(N, 3, H, W) preprocessed images -> the 95th percentile over channels."""
    layers = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    found: list[Tensor] = []

    def measure(layer: nn.BatchNorm2d, inputs: tuple[Tensor], _: Tensor) -> None:
        found.append((inputs[0].mean((0, 2, 3)) - layer.running_mean).abs() / (layer.running_var + layer.eps).sqrt())

    hooks = [layer.register_forward_hook(measure) for layer in layers[-(len(layers) // 3) :]]
    with torch.inference_mode():
        net.eval()(images)
    for hook in hooks:
        hook.remove()
    return float(np.quantile(torch.cat(found).numpy(), 0.95))


def measure(network: str, bench: str, side: int, data: Path) -> dict:
    row, form = build.get_backbone(network), recipes.Form(side=side)
    parts, classes, _ = recipes.load(bench, data, row.mean, row.std, row.interpolation, form)
    net = build.create_model(row, classes, recipes.initial_weights(network, form), size=(side, side))
    train = parts["train"]
    drawn = np.random.default_rng(0).permutation(len(train.labels))[:IMAGES]
    some = replace(
        train, pixels=train.pixels[drawn], labels=train.labels[drawn], indices=np.arange(IMAGES), batch_size=IMAGES
    )
    return {"network": network, "data": bench, "side": side, "shift": shift(net, next(iter(some.eval()))[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    torch.set_num_threads(1)
    rows = [measure(network, bench, side, data) for bench in DATASETS for side in SIDES for network in NETWORKS]
    OUT.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
