"""Which recipe? Its parts on real networks and datasets, at equal steps, chosen on validation.

    python benchmarks/recipes.py --data FOLDER --stages parts

Every run starts from ImageNet weights and is a line of `--out`: the score on validation of the last weights, and the one on test,
which chose nothing. Runs already there are skipped, so an interrupted benchmark continues. One thread; about six hours.
The head `confident` is that of an earlier version: a probe of standardised features, its logits not softened.

`--data` holds flowers102/ (complete), tiny/folder/ (class folders of Tiny ImageNet's first 50 classes with 70 training images each, class by
class `rng.sample(sorted(names), 70)` of `rng = random.Random(0)`), eurosat/ and, for other stages, cub200_small/, cifar10_small/,
plantvillage_sequence/ and ucmerced/ (complete).
"""

import argparse
import base64
import json
import os
import sys
import time
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from timm.layers import DropPath

import cifar10
import cub200
import eurosat
import flowers102
import folder
import ucmerced
from benchmarks.default_runs import FROM_RANDOM, LENGTHS, PROBE, RECIPE
from common.data.images.decode import decode
from common.data.loader import Batches
from common.data.splits import splits
from common.metrics import classification
from common.models import build, weights
from common.run.head_start import probe_head
from common.spec import Augment, Dataset
from common.training import recipes
from common.training.cpu_kernels import move_to
from common.training.device import make_accelerator
from common.training.evaluate import evaluate
from common.training.finetune import finetune
from common.training.task import Task
from common.transfer.features import set_head

SHARED = Path(os.environ.get("CLASH_SHARED", "../shared")) / "weights"
NETWORKS = {  # name: weights
    "efficientnet_lite0": "imagenet",
    "efficientnet_lite1": "imagenet",
    "efficientnet_lite2": "imagenet",
    "timm:mobilenetv2_100": "mobilenetv2_100_features.safetensors",
    "timm:mobilenetv1_100": "mobilenetv1_100.safetensors",
    "torchvision:squeezenet1_1": "squeezenet1_1.safetensors",
}


@dataclass(frozen=True)
class Benchmark:
    """Images per class of each part, of a dataset in its official layout or in class folders."""

    sheet: Dataset
    folder: str
    train: int
    val: int
    test: int


BENCHMARKS = {
    "flowers102": Benchmark(flowers102.DATASET, "flowers102", 10, 10, 10),
    "tiny50": Benchmark(replace(folder.DATASET, image_size=(64, 64)), "tiny/folder", 30, 20, 20),
    "eurosat": Benchmark(eurosat.DATASET, "eurosat", 100, 100, 200),
    "cub": Benchmark(cub200.DATASET, "cub200_small", 8, 3, 3),
    "cifar10": Benchmark(cifar10.DATASET, "cifar10_small", 150, 100, 100),
    "plants": Benchmark(folder.DATASET, "plantvillage_sequence/PlantVillage", 100, 80, 100),
    "ucmerced": Benchmark(ucmerced.DATASET, "ucmerced", 40, 20, 40),
}


@dataclass(frozen=True)
class Form:
    """What a configuration may change of the data and the initial weights."""

    side: int = 64  # pixels
    batch_size: int = 32
    shots: int | None = None  # training images per class; None: all
    part: float = 1.0  # of the training images per class
    weights: str = "imagenet"  # or none
    crop_pct: float | None = None  # of evaluation


FULL = Form()


@cache
def load(
    name: str, data: Path, mean: tuple, std: tuple, interpolation: str, form: Form = FULL
) -> tuple[dict[str, Batches], int, Augment]:
    """Batches of train, val and test, the same for every recipe and seed; the number of classes; the augmentation."""
    bench = BENCHMARKS[name]
    samples = splits.present_classes(bench.sheet.load(data / bench.folder, bench.sheet.classes))
    labels = np.asarray(samples.labels)
    drawn = np.random.default_rng(0).permutation(len(labels))
    preprocess = replace(
        build.get_backbone("efficientnet_lite0").preprocess((form.side, form.side)),
        mean=mean,
        std=std,
        interpolation=interpolation,
        crop_pct=form.crop_pct,
    )
    parts, start = {}, 0
    for part in ("train", "val", "test"):
        n = getattr(bench, part)
        count = round(form.part * min(form.shots or n, n)) if part == "train" else n
        index = np.sort(
            np.concatenate([drawn[labels[drawn] == c][start : start + count] for c in range(len(samples.classes))])
        )
        start += n
        images = [samples.images[i] for i in index] if isinstance(samples.images, list) else samples.images[index]
        parts[part] = Batches(
            pixels=decode(images, preprocess, bench.sheet.native)[0],
            labels=labels[index],
            indices=np.arange(len(index)),
            preprocess=preprocess,
            batch_size=form.batch_size,
            device=torch.device("cpu"),
        )
    return parts, len(samples.classes), bench.sheet.augment


def is_possible(form: Form, bench: str) -> bool:
    """Whether it is not the same as all images, and crops as the default does after the crops of the data sheet."""
    crops = (None, recipes.mean_crop(BENCHMARKS[bench].sheet.augment.crop))
    return (form.shots is None or form.shots < BENCHMARKS[bench].train) and form.crop_pct in crops


def initial_weights(network: str, form: Form) -> dict[str, torch.Tensor] | None:
    """None: random."""
    source = NETWORKS[network] if form.weights == "imagenet" else form.weights
    source = source if source in ("imagenet", "none") else str(SHARED / source)
    return weights.load_weights(build.get_backbone(network), source, offline=True)[0]


PHASE = ("lr", "steps", "head_lr", "layer_decay", "weight_decay", "warmup")
OTHERS = ("label_smoothing", "mixup_alpha", "ema_decay")
FORM = tuple(field.name for field in fields(Form))


class Trainer:
    """A network on a dataset: its data, its initial weights and its probe."""

    def __init__(self, network: str, bench: str, data: Path, form: Form = FULL):
        self.row, self.side = build.get_backbone(network), form.side
        pixels = (self.row.mean, self.row.std, self.row.interpolation)
        self.parts, self.classes, self.augment = load(bench, data, *pixels, form)
        self.state = initial_weights(network, form)
        self.accelerator = make_accelerator("cpu", "fp32", False)
        begin = time.process_time()
        self.head = probe_head(self.net(0), self.row, self.parts["train"], self.classes, None, "fp32", 0)
        self.probe_seconds = time.process_time() - begin

    def net(self, seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        return build.create_model(self.row, self.classes, self.state, size=(self.side, self.side))

    def score(self, net: torch.nn.Module, part: str) -> dict[str, float | str]:
        """`right` has a bit for every image, in base64 (`np.packbits`); `mirrored`: with the mean logits of an image and its mirror image."""
        batches = self.parts[part]
        mirror = replace(batches, pixels=np.ascontiguousarray(batches.pixels[:, :, ::-1]))
        logits, mirrored = (evaluate(net, images, self.accelerator) for images in (batches, mirror))
        found = {}
        for name, values in ((part, logits), (f"{part}_mirrored", (logits + mirrored) / 2)):
            scores = classification.score(values, batches.labels)
            found |= {f"{name}_{metric}": round(scores[metric], 5) for metric in ("top1", "nll")}
        right = np.packbits(logits.argmax(1) == batches.labels)
        return found | {f"{part}_right": base64.b64encode(right.tobytes()).decode()}

    def scores(self, net: torch.nn.Module) -> dict[str, float | str]:
        return {**self.score(net, "val"), **self.score(net, "test")}

    def probe(self) -> dict[str, float]:
        net = self.net(0)
        set_head(net, self.row.head, *self.head)
        move_to(net, torch.device("cpu"), torch.channels_last)
        return {**self.scores(net), "seconds": round(self.probe_seconds, 1)}

    def train(self, config: dict, seed: int) -> dict[str, float]:
        """`config`: head, bn, lr, steps; the others as the default recipe."""
        net = self.net(seed)
        if config["head"] == "probe":
            set_head(net, self.row.head, *self.head)
        move_to(net, torch.device("cpu"), torch.channels_last)
        phase = {name: config[name] for name in PHASE if name in config}
        base = recipes.clean(1, config["steps"], config["lr"], pretrained=True)
        recipe = replace(
            base,
            phases=(replace(base.phases[0], **phase),),
            head_start=config["head"],
            batch_norm=config["bn"],
            **{name: config[name] for name in OTHERS if name in config},
        )
        set_drop_path(net, config.get("drop_path", 0.0))
        task = Task(
            net=net,
            head=self.row.head,
            train=self.parts["train"],
            augment=recipes.AUGMENTS[config["augment"]] if "augment" in config else self.augment,
            validate=lambda net: (0.0, {}),
            recipe=recipe,
            accelerator=self.accelerator,
            seed=seed,
        )
        begin = time.process_time()
        finetune(task, lambda record: None)
        seconds = round(time.process_time() - begin, 1)
        return {**self.scores(net), "seconds": seconds}


def set_drop_path(net: torch.nn.Module, rate: float) -> None:
    """Stochastic depth (Huang et al. 2016, arXiv 1603.09382) of timm's blocks, linear in their depth up to `rate`."""
    blocks = [module for module in net.modules() if hasattr(module, "drop_path")] if rate else []
    for i, block in enumerate(blocks, 1):
        block.drop_path = DropPath(rate * i / len(blocks))


def form_of(config: dict) -> Form:
    return Form(**{name: config[name] for name in FORM if name in config})


def config(head: str, bn: str, lr: float, steps: int = 300, **others: float) -> dict:
    return {"head": head, "bn": bn, "lr": lr, "steps": steps, **others}


PRETRAINED, BATCH, RANDOM = ("probe", "pretrained"), ("probe", "batch"), ("random", "batch")
MAIN = ("flowers102", "tiny50", "eurosat")
BATCH_NORM = ("efficientnet_lite0", "timm:mobilenetv2_100", "timm:mobilenetv1_100")
# A fractional factorial of two levels, resolution III: seven parts in eight configurations
PARTS = {
    "layer_decay": 0.8,
    "weight_decay": 0.5,
    "ema_decay": 0.99,
    "mixup_alpha": 0.2,
    "label_smoothing": 0.0,
    "augment": "trivial",
    "head_lr": 10.0,
}
FACTORIAL = [
    {name: value for j, (name, value) in enumerate(PARTS.items(), 1) if (i & j).bit_count() % 2} for i in range(8)
]
EVERY_LENGTH = [PROBE, *(config(**RECIPE, steps=steps) for steps in LENGTHS)]
STAGES = {  # name: (networks, benchmarks, configurations)
    "parts": (
        BATCH_NORM, MAIN,
        [config(*PRETRAINED, lr) for lr in (1e-4, 3e-4, 1e-3)] + [config(*start, 1e-3) for start in (BATCH, RANDOM)],
    ),
    "short": (
        BATCH_NORM, MAIN,
        [config(*PRETRAINED, lr, 25) for lr in (1e-4, 3e-4, 1e-3)] + [config(*BATCH, lr, 25) for lr in (3e-4, 1e-3)],
    ),
    "default": (tuple(NETWORKS), tuple(BENCHMARKS), EVERY_LENGTH),
    "factorial": (BATCH_NORM[:2], MAIN, [config(*PRETRAINED, 3e-4, **parts) for parts in FACTORIAL[1:]]),
    "squeezenet": (
        tuple(NETWORKS)[-1:], tuple(BENCHMARKS),
        [config(*PRETRAINED, lr, steps) for lr in (1e-3, 1e-4) for steps in (25, 50, 300)]
        + [config(*PRETRAINED, 3e-4, 50)],
    ),
    "mobilenetv1": (BATCH_NORM[2:], tuple(BENCHMARKS), [config(*BATCH, 1e-3)]),
    "sizes": (
        BATCH_NORM[:1], MAIN[:1],
        [config(*BATCH, 3e-4, 100)]
        + [config(*start, 3e-4, 100, side=side) for side in (128, 224) for start in (PRETRAINED, BATCH)]
        + [config(*start, 1e-3, 75, batch_size=128) for start in (PRETRAINED, BATCH)],
    ),
    "lengths": (
        BATCH_NORM[:1], ("ucmerced", "tiny50", "flowers102"),
        [config(*PRETRAINED, *more) for more in ((3e-4, 500), (5e-4, 500), (3e-4, 1000))],
    ),
    "drop_path": (BATCH_NORM[:2], MAIN, [config(*PRETRAINED, 3e-4, drop_path=0.1)]),
    "augment": (
        BATCH_NORM[:2], tuple(BENCHMARKS), [config(*PRETRAINED, 3e-4, augment=name) for name in ("flip", "dihedral")],
    ),
    "crop_pct": (
        tuple(NETWORKS), tuple(BENCHMARKS),
        [conf | {"crop_pct": crop} for conf in (PROBE, config(*PRETRAINED, 3e-4)) for crop in (0.875, 0.925)],
    ),
    "layer_decay": (
        tuple(NETWORKS)[-1:], tuple(BENCHMARKS), [config(*PRETRAINED, 3e-4, layer_decay=decay) for decay in (0.8, 0.9)],
    ),
    "rate": (BATCH_NORM[:1], tuple(BENCHMARKS), [config(*PRETRAINED, 5e-4)]),
    "seeds": (
        tuple(NETWORKS), tuple(BENCHMARKS), [config(*PRETRAINED, 3e-4)] + [config(*PRETRAINED, 3e-4, shots=n) for n in (5, 20)],
    ),
    "shots": (
        tuple(NETWORKS), tuple(BENCHMARKS), [conf | {"shots": shots} for shots in (5, 20) for conf in EVERY_LENGTH],
    ),
    "halves": (BATCH_NORM[:1], tuple(BENCHMARKS)[1:], [config(*PRETRAINED, 3e-4, part=part) for part in (0.125, 0.25, 0.5)]),
    "size": ((BATCH_NORM[1], "torchvision:squeezenet1_1"), tuple(BENCHMARKS), [conf | {"side": 96} for conf in EVERY_LENGTH]),
    "random": (
        (BATCH_NORM[0], "torchvision:squeezenet1_1"), tuple(BENCHMARKS),
        [PROBE | {"weights": "none"}, *(config(**FROM_RANDOM, steps=steps, weights="none") for steps in LENGTHS)],
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="compare the parts of a recipe on validation")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/recipes.jsonl")
    parser.add_argument("--stages", nargs="+", default=list(STAGES), choices=STAGES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    done = set()
    if args.out.exists():
        rows = map(json.loads, args.out.read_text().splitlines())
        done = {json.dumps([row[k] for k in ("network", "data", "config", "seed")]) for row in rows}
    for stage in args.stages:
        networks, benches, configs = STAGES[stage]
        for bench in benches:
            for network in networks:
                trainers = {}
                for seed in args.seeds:
                    for conf in configs:
                        key = {"network": network, "data": bench, "config": conf, "seed": seed if conf["steps"] else 0}
                        form = form_of(conf)
                        if json.dumps(list(key.values())) in done or not is_possible(form, bench):
                            continue
                        trainer = trainers[form] = trainers.get(form) or Trainer(network, bench, args.data, form)
                        scores = trainer.train(conf, seed) if conf["steps"] else trainer.probe()
                        done.add(json.dumps(list(key.values())))
                        with args.out.open("a") as file:
                            file.write(json.dumps({**key, **scores}) + "\n")
                        print(json.dumps({**key, **scores}), flush=True)


if __name__ == "__main__":
    main()
