"""Which recipe? The default, its variants and the paper's two phases, at equal compute, on validation only.

    python benchmarks/recipes.py --data ../shared/data --out benchmarks/results/recipes.jsonl

1,800 training images of EuroSAT and of CIFAR-10, 200 of Flowers-102; EfficientNet-Lite0 from ImageNet weights, three seeds. Every
variant sees the same images in the same number of steps; its best epoch on validation counts. Runs already in --out are skipped.
"""

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch

import cifar10
import eurosat
import flowers102
from common.data.images.decode import decode
from common.data.loader import Batches
from common.data.splits import splits
from common.metrics import classification
from common.models import build, weights
from common.spec import Augment, Phase, Recipe
from common.training import recipes
from common.training.device import make_accelerator
from common.training.evaluate import evaluate
from common.training.finetune import finetune
from common.training.task import Task

BATCH, STEPS = 32, 500
TASKS = {  # data sheet, folder of the data, training images, validation images, pixels
    "eurosat": (eurosat.DATASET, "eurosat", 1800, 2000, 64),
    "cifar10": (cifar10.DATASET, "cifar10_small", 1800, 2000, 64),
    "flowers102": (flowers102.DATASET, "flowers102_small", 200, 200, 64),
}


def variants(epochs: int, epoch: int) -> dict[str, tuple[Recipe, Augment | None]]:
    base = recipes.clean(epochs, epoch, build.get_backbone("efficientnet_lite0").lr)
    phase = base.phases[0]
    first = epochs // 2 * epoch
    paper = Recipe(
        name="paper",
        phases=(
            Phase(steps=first, lr=1e-3, weight_decay=0.01, schedule="constant"),
            Phase(steps=epochs * epoch - first, optimizer="sgd", lr=1e-3, schedule="constant"),
        ),
        eval_every=epoch,
    )

    def vary(**changes: object) -> Recipe:
        return replace(base, phases=(replace(phase, **changes),))

    return {
        "clean": (base, None),
        "paper, two phases": (paper, None),
        "lr 1e-3": (vary(lr=1e-3), None),
        "lr 4e-3": (vary(lr=4e-3), None),
        "head x 3": (vary(head_lr=3.0), None),
        "no label smoothing": (replace(base, label_smoothing=0.0), None),
        "no augmentation": (base, Augment()),
        "paper, no augmentation": (paper, Augment()),
    }


def load(task: str, data: Path) -> tuple:
    """Batches of train and val, the same for every variant and seed."""
    dataset, folder, n_train, n_val, side = TASKS[task]
    row = build.get_backbone("efficientnet_lite0")
    preprocess = row.preprocess((side, side))
    samples = splits.present_classes(dataset.load(data / folder, dataset.classes))
    split = splits.split(dataset, samples, seed=0)
    classes = len(samples.classes)

    def balanced(positions: tuple[int, ...], n: int) -> list[int]:
        """`n` positions, equally many per class, spread over the sorted names."""
        per_class = [[i for i in positions if samples.labels[i] == c] for c in range(classes)]
        return [
            i
            for members in per_class
            for i in members[:: max(1, len(members) * classes // n)][: n // classes]
        ]

    chosen = {"train": balanced(split.train, n_train)}
    used = set(chosen["train"])
    pool = (
        split.val
        if len(split.val) >= n_val
        else tuple(i for i in (*split.train, *split.val) if i not in used)
    )
    chosen["val"] = balanced(pool, n_val)
    parts = {}
    for part, index in chosen.items():
        pixels, _ = decode(
            [samples.images[i] for i in index] if isinstance(samples.images, list) else samples.images[index],
            preprocess,
            dataset.native,
        )
        parts[part] = Batches(
            pixels=pixels,
            labels=np.asarray(samples.labels)[index],
            indices=np.arange(len(index)),
            preprocess=preprocess,
            batch_size=BATCH,
            device=torch.device("cpu"),
        )
    return dataset, row, classes, parts


def train(loaded: tuple, recipe: Recipe, augment: Augment | None, seed: int) -> dict:
    dataset, row, classes, parts = loaded
    accelerator = make_accelerator("cpu", "fp32", row.cpu_bf16)
    torch.manual_seed(seed)
    net = build.create_model(row, classes, weights.load_weights(row, "imagenet", offline=True)[0]).to(
        memory_format=torch.channels_last
    )

    def validate(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        scores = classification.score(evaluate(net, parts["val"], accelerator), parts["val"].labels)
        return scores["top1"], scores

    task = Task(
        net=net,
        head=row.head,
        train=parts["train"],
        augment=dataset.augment if augment is None else augment,
        validate=validate,
        recipe=recipe,
        accelerator=accelerator,
        seed=seed,
    )
    best = finetune(task, lambda record: None).best
    return {name: best[name] for name in ("epoch", "top1", "macro_f1", "nll", "ece")}


def table(path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = list(dict.fromkeys(row["variant"] for row in rows))
    tasks = list(dict.fromkeys(row["task"] for row in rows))
    print(f"\n{'variant':24}" + "".join(f"{task:>22}" for task in tasks) + f"{'mean':>8}")
    for name in names:
        cells = [[r["top1"] for r in rows if r["variant"] == name and r["task"] == task] for task in tasks]
        means = [100 * statistics.mean(cell) if cell else float("nan") for cell in cells]
        spread = [100 * statistics.stdev(cell) if len(cell) > 1 else 0.0 for cell in cells]
        line = "".join(
            f"{f'{m:.2f} ± {s:.2f} ({len(c)})':>22}" for m, s, c in zip(means, spread, cells, strict=True)
        )
        print(f"{name:24}{line}{statistics.mean(means):8.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="compare training recipes on validation at equal compute")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder with eurosat/, cifar10_small/ and flowers102_small/"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/recipes.jsonl")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", help="names from the table (default: all)")
    args = parser.parse_args()

    done = set()
    if args.out.exists():
        rows = map(json.loads, args.out.read_text().splitlines())
        done = {(row["task"], row["variant"], row["seed"]) for row in rows}
    for task in args.tasks:
        loaded = load(task, args.data)
        epoch = loaded[3]["train"].steps
        epochs = round(STEPS / epoch)
        for seed in args.seeds:
            for name, (recipe, augment) in variants(epochs, epoch).items():
                if (task, name, seed) in done or (args.variants and name not in args.variants):
                    continue
                scores = train(loaded, recipe, augment, seed)
                row = {"task": task, "variant": name, "seed": seed, "epochs": epochs, **scores}
                with args.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(row, flush=True)
    table(args.out)


if __name__ == "__main__":
    main()
