"""Table of the CIFAR networks trained from scratch, next to the published figures."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models.registry import CIFAR
from ..run.recorded_recipe import current_recipe
from ..run.results import RESULT, read_json

# github.com/xyfJASON/image-backbones-pytorch at acb3469, README: MACs as stated, and top-1 on CIFAR-10's test set, which
# also selected the epoch; 64,000 steps, one run each
PUBLISHED = {
    "vgg11_cifar": (0.15e9, 0.9097),
    "vgg19_bn_cifar": (0.40e9, 0.9400),
    "resnet18_cifar": (5.59e9, 0.9564),
    "preact_resnet18_cifar": (5.59e9, 0.9545),
    "resnext29_32x4d_cifar": (6.90e9, 0.9516),
    "se_resnet18_cifar": (5.59e9, 0.9565),
    "cbam_resnet18_cifar": (5.59e9, 0.9549),
    "mobilenet_cifar": (0.48e9, 0.9209),
    "shufflenet_g8_cifar": (0.50e9, 0.9282),
    "vit_tiny_cifar": (0.37e9, 0.8566),
}
COLUMNS = (
    "network", "parameters (M)", "MACs (G)", "MACs as published", "data", "steps x batch", "top-1, chosen on validation (%)", "top-1, last (%)",
    "top-1 as published, chosen on test (%)",
)  # fmt: skip


def load_results(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """All results of protocol `scratch` in the folders and below.

    Raises:
        UserError: there are none, or a file is damaged.
    """
    paths = sorted({path for folder in folders for path in folder.rglob(RESULT)})
    results = [read_json(path) for path in paths]
    scratch = [result for result in results if result["protocol"] == "scratch"]
    if not scratch:
        raise UserError(
            f"no finished run from scratch in {', '.join(map(str, folders))} ({len(results)} others): "
            "train one with python cifar10.py --protocol scratch"
        )
    return scratch


def format_table(results: list[dict[str, Any]]) -> str:
    """Markdown: one row per network and setting, mean ± standard deviation over seeds (n), then missing networks.

    Of the runs of one seed the last counts.
    """
    groups: dict[str, dict[tuple, dict[int, dict]]] = defaultdict(lambda: defaultdict(dict))
    for result in results:
        steps = sum(phase["steps"] for phase in result["recipe"]["phases"])
        data = result["dataset"] + (f", {result['split']['train']:,} images of it" if result["subset"] else "")
        recipe = json.dumps([current_recipe(result["recipe"]), result["augment"]])
        groups[result["backbone"]][data, f"{steps:,} x {result['batch_size']}", recipe][result["seed"]] = result
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    names = [network.name for network in CIFAR]
    for name in [*(n for n in names if n in groups), *sorted(groups.keys() - set(names))]:
        for (data, length, _), seeds in groups[name].items():
            lines.append(f"| {' | '.join(_row(name, data, length, list(seeds.values())))} |")
    machines = sorted({f"{result['device']}, torch {result['torch']}, {result['precision']}" for result in results})
    lines += ["", f"Mean ± standard deviation over seeds, their number in brackets. Measured on {'; '.join(machines)}."]
    if missing := [name for name in names if name not in groups]:
        lines.append(f"No finished run of {', '.join(missing)}.")
    return "\n".join(lines)


def _row(name: str, data: str, length: str, seeds: list[dict[str, Any]]) -> tuple[str, ...]:
    first = seeds[0]
    macs, top1 = PUBLISHED.get(name, (None, None)) if first["dataset"] == "cifar10" else (None, None)
    return (
        f"`{name}`",
        f"{first['parameters'] / 1e6:.3f}",
        f"{first['macs'] / 1e9:.3f}",
        f"{macs / 1e9:.2f}{' (10 times too many)' * (macs > 5 * first['macs'])}" if macs else "",
        data,
        length,
        _mean_and_deviation([result["test"]["top1"]["value"] for result in seeds]),
        _mean_and_deviation([result["test_last"]["top1"] for result in seeds]),
        f"{100 * top1:.2f}" if top1 else "",
    )


def _mean_and_deviation(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread} ({len(values)})"
