"""Which epoch's weights should a run keep, when few images validate? The test images are looked at after every epoch, to find out.

    python benchmarks/which_epoch.py --data ../shared/data       # an hour on one CPU core

EfficientNet-Lite0 from ImageNet weights by the default recipe at 64 pixels, three seeds. Rules: the best top-1 on validation,
the first of equal ones; the last within one standard error of it; the least NLL on validation; the last epoch, which needs no
validation. Every finished run is a line of --out and is not run again.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from common.cli import catalog  # noqa: E402
from common.cli.parse import make_config, parse  # noqa: E402
from common.data.dataset import load_dataset, make_loaders  # noqa: E402
from common.metrics import classification  # noqa: E402
from common.models import build, weights  # noqa: E402
from common.run import provenance  # noqa: E402
from common.spec import RunConfig  # noqa: E402
from common.training import device, recipes  # noqa: E402
from common.training.cpu_kernels import move_to  # noqa: E402
from common.training.evaluate import evaluate  # noqa: E402
from common.training.finetune import finetune  # noqa: E402

TASKS = {
    "eurosat, 60 shots": ("eurosat", "eurosat", ("--shots", "60")),
    "cifar10, 100 shots": ("cifar10", "cifar10_small", ("--subset", "--shots", "100")),
    "flowers102": ("flowers102", "flowers102_small", ("--subset",)),
    "plantvillage": ("plantvillage", "plantvillage_small", ("--subset",)),
}
TEST = 1_000  # images at most, spread over all of them
Epoch = dict[str, float]
RULES: dict[str, Callable[[dict], Epoch]] = {
    "best top-1": lambda row: max(row["epochs"], key=lambda e: e["val_top1"]),
    "within an error": lambda row: [e for e in row["epochs"] if e["val_top1"] > _least(row)][-1],
    "least NLL": lambda row: min(row["epochs"], key=lambda e: e["val_nll"]),
    "last epoch": lambda row: row["epochs"][-1],
}


def _least(row: dict) -> float:
    best = max(epoch["val_top1"] for epoch in row["epochs"])
    return best - classification.standard_error(best, row["val"])


def asked_for(task: str, data: Path, seed: int) -> RunConfig:
    name, folder, options = TASKS[task]
    told = [
        "--data_dir",
        str(data / folder),
        "-model",
        "efficientnet_lite0",
        "--image_size",
        "64",
        "--seed",
        str(seed),
    ]
    sheet = catalog.find(name)
    options = parse((sheet,), [*told, *options, "--offline"])
    return make_config((sheet,), options)


def train(asked: RunConfig) -> dict:
    """As `common.run` does it, with a look at test after every epoch."""
    row = build.get_backbone(asked.model)
    preprocess = row.preprocess(asked.image_size)
    data = load_dataset(asked, preprocess, print)
    recipe = recipes.from_config(asked, row, max(1, len(data.split.train) // asked.batch_size))
    accelerator = device.make_accelerator("auto", "auto", row.cpu_bf16)
    torch.manual_seed(asked.seed)
    net = build.create_model(
        row, len(data.samples.classes), weights.load_weights(row, "imagenet", offline=True)[0]
    )
    parts = make_loaders(asked, data, True, accelerator)
    few = slice(None, None, -(-len(data.split.test) // TEST))
    parts["test"] = replace(
        parts["test"], indices=parts["test"].indices[few], labels=parts["test"].labels[few]
    )
    move_to(net, accelerator.device, parts["train"].memory_format)
    epochs: list[Epoch] = []

    def judge(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        val, test = (
            classification.score(evaluate(net, parts[p], accelerator), parts[p].labels)
            for p in ("val", "test")
        )
        epochs.append(
            {
                "val": len(parts["val"].labels),
                "val_top1": val["top1"],
                "val_nll": val["nll"],
                "test_top1": test["top1"],
            }
        )
        return val["top1"], {}

    finetune(
        net,
        row.head,
        parts["train"],
        asked.dataset.augment,
        judge,
        recipe,
        accelerator,
        asked.seed,
        lambda record: None,
    )
    images = {part: len(parts[part].labels) for part in ("train", "val", "test")}
    return {**images, "epochs": epochs, **provenance.collect(accelerator.device, accelerator.mixed_precision)}


def table(rows: Sequence[dict]) -> None:
    """Top-1 on test of the weights that each rule keeps, mean over seeds, in percent."""
    print(f"{'':20} {'train / val / test':>20} {'seeds':>5} " + " ".join(f"{rule:>16}" for rule in RULES))
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        images = " / ".join(f"{own[0][part]:,}" for part in ("train", "val", "test"))
        cells = [100 * statistics.mean(rule(row)["test_top1"] for row in own) for rule in RULES.values()]
        print(f"{task:20} {images:>20} {len(own):5} " + " ".join(f"{cell:16.2f}" for cell in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description="test accuracy of the epochs that several rules choose")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/which_epoch.jsonl")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    args = parser.parse_args()
    rows = (
        [json.loads(line) for line in args.out.read_text("utf-8").splitlines()] if args.out.exists() else []
    )
    for task in args.tasks:
        for seed in args.seeds:
            if any((row["task"], row["seed"]) == (task, seed) for row in rows):
                continue
            rows.append({"task": task, "seed": seed, **train(asked_for(task, args.data, seed))})
            rows[-1].pop("command", None)
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    table(rows)


if __name__ == "__main__":
    main()
