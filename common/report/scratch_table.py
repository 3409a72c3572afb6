"""The table of the networks trained from scratch: run folders, beside what was published for them."""

import json
import statistics
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..models.registry import CIFAR
from ..run.results import RESULT

# github.com/xyfJASON/image-backbones-pytorch at acb3469, README: MACs as printed there, and top-1 on CIFAR-10's test set,
# which also chose the epoch; 64,000 steps, one run each
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
HEAD = (
    "network", "parameters (M)", "MACs (G)", "MACs as published", "data", "steps x batch", "top1, chosen on val (%)", "top1, last (%)",
    "top1 as published, chosen on test (%)",
)  # fmt: skip


def find(folders: Iterable[Path]) -> list[dict[str, Any]]:
    """The results of all finished runs of protocol `scratch` below the folders.

    Raises:
        UserError: there are none.
    """
    paths = sorted({path for folder in folders for path in folder.rglob(RESULT)})
    found = [json.loads(path.read_text("utf-8")) for path in paths]
    runs = [result for result in found if result["protocol"] == "scratch"]
    if not runs:
        where = ", ".join(map(str, folders))
        raise UserError(
            f"no finished run from scratch in {where} ({len(found)} others): python cifar10.py --protocol scratch makes one"
        )
    return runs


def table(runs: list[dict[str, Any]]) -> str:
    """Markdown: a row per network and setting, mean ± standard deviation over seeds with their number; then what is missing."""
    groups: dict[str, dict[tuple, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        steps = sum(phase["steps"] for phase in run["recipe"]["phases"])
        data = run["dataset"] + (f", {run['split']['train']:,} images of it" if run["subset"] else "")
        setting = (data, f"{steps:,} x {run['batch_size']}", json.dumps([run["recipe"], run["augment"]]))
        groups[run["backbone"]][setting].append(run)
    lines = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    names = [row.name for row in CIFAR]
    for name in [*(n for n in names if n in groups), *sorted(groups.keys() - set(names))]:
        for (data, length, _), members in groups[name].items():
            of_cifar10 = members[0]["dataset"] == "cifar10"
            macs, top1 = PUBLISHED.get(name, (None, None)) if of_cifar10 else (None, None)
            cells = (
                f"`{name}`",
                f"{members[0]['parameters'] / 1e6:.3f}",
                f"{members[0]['macs'] / 1e9:.3f}",
                f"{macs / 1e9:.2f}{' (10 times too many)' * (macs > 5 * members[0]['macs'])}" if macs else "",
                data,
                length,
                _spread([run["test"]["top1"]["value"] for run in members]),
                _spread([run["test_last"]["top1"] for run in members]),
                f"{100 * top1:.2f}" if top1 else "",
            )
            lines.append(f"| {' | '.join(cells)} |")
    missing = [name for name in names if name not in groups]
    machines = sorted({f"{run['device']}, torch {run['torch']}, {run['precision']}" for run in runs})
    told = [
        "",
        "Mean ± standard deviation over seeds, their number in brackets. "
        + f"Measured on {'; '.join(machines)}.",
    ]
    if missing:
        told.append(f"No finished run of {', '.join(missing)}.")
    return "\n".join([*lines, *told])


def _spread(values: list[float]) -> str:
    spread = f" ± {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.2f}{spread} ({len(values)})"
