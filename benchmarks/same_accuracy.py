"""Does decoding once and augmenting whole batches on the device cost accuracy? Paired with torchvision's pipeline.

    python benchmarks/same_accuracy.py --data ../shared/data

Ours: images are decoded once to uint8 at the cached size; crop, flips, quarter turns and resizing are one bicubic
resampling of a batch. Plain: a DataLoader decodes every image in every epoch, torchvision's RandomResizedCrop from the original with the
backbone's antialiased interpolation, flips and quarter turns; Resize and CenterCrop for evaluation. Both have the same seed,
initial weights, recipe, split and order of samples, and select the epoch on validation. EfficientNet-Lite0 from ImageNet weights.

Runs already in --out are skipped. The interval of the difference, averaged over the seeds, resamples the test images; the
differences per seed show the variance over seeds.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import count
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets.folder import pil_loader

import cifar10
import eurosat
import flowers102
from common.data.augment.augment import RATIO, generator
from common.data.images.decode import decode
from common.data.loader import Batches, pixels_to_device
from common.data.splits import splits
from common.metrics import classification
from common.models import build, weights
from common.run import provenance
from common.spec import Augment, Preprocess
from common.statistics.paired import paired_bootstrap
from common.training import device, recipes
from common.training.evaluate import evaluate
from common.training.finetune import finetune
from common.training.task import Task

BATCH = 32
TASKS = {"flowers102": flowers102.DATASET, "cifar10": cifar10.DATASET, "eurosat": eurosat.DATASET}
FOLDERS = {"flowers102": "flowers102_small", "cifar10": "cifar10_small", "eurosat": "eurosat"}
Key = tuple[int, int, Augment | None]  # image, seed, augmentation (None: evaluation)


@dataclass(frozen=True)
class Pictures:
    """Decodes and augments an image at every access."""

    images: Sequence  # paths or (H, W, 3) uint8 arrays
    labels: Sequence[int]
    preprocess: Preprocess

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: Key) -> tuple[Tensor, int]:
        i, seed, augment = key
        image = self.images[i]
        picture = pil_loader(image) if isinstance(image, str) else Image.fromarray(image)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return _transform(self.preprocess, augment)(picture), self.labels[i]


@cache
def _transform(preprocess: Preprocess, augment: Augment | None) -> transforms.Compose:
    mode, size = transforms.InterpolationMode(preprocess.interpolation), preprocess.size
    if augment is None:
        first = [transforms.Resize(round(min(size) / preprocess.crop), mode), transforms.CenterCrop(size)]
    else:
        first = [transforms.RandomResizedCrop(size, (augment.crop, 1), (1 / RATIO, RATIO), mode)]
        if augment.flip or augment.dihedral:
            first += [transforms.RandomHorizontalFlip()]
        if augment.dihedral:
            first += [transforms.RandomVerticalFlip(), transforms.RandomApply([_quarter_turn])]
    last = [transforms.ToTensor(), transforms.Normalize(preprocess.mean, preprocess.std)]
    return transforms.Compose(first + last)


def _quarter_turn(picture: Image.Image) -> Image.Image:
    return picture.transpose(Image.Transpose.ROTATE_90)


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The interface of `Batches` on a DataLoader with persistent workers."""

    pictures: Pictures
    batch_size: int
    device: torch.device
    workers: int
    micro_batches: int = 1
    world: int = 1
    keys: list[Key] = field(default_factory=list)  # of one epoch: the sampler

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def steps(self) -> int:
        return max(1, len(self) // self.batch_size)

    def train(self, augment: Augment, seed: int, step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The samples of `Batches.train` in the same order, from step 0."""
        for epoch in count(1):
            order = torch.randperm(len(self), generator=generator("order", seed, epoch)).tolist()
            seeds = torch.randint(2**62, (len(self),), generator=generator("plain", seed, epoch)).tolist()
            yield from self._batches((i, seeds[i], augment) for i in order[: self.steps * self.batch_size])

    def eval(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self._batches((i, 0, None) for i in range(len(self)))

    def _batches(self, keys: Iterable[Key]) -> Iterator[tuple[Tensor, Tensor]]:
        self.keys[:] = keys
        for images, labels in self._loader:
            images = images.to(self.device, non_blocking=True, memory_format=torch.channels_last)
            yield images, labels.to(self.device, non_blocking=True)

    @cached_property
    def _loader(self) -> DataLoader:
        return DataLoader(
            self.pictures,
            self.batch_size,
            sampler=self.keys,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),  # does not touch torch's global generator
        )


def load(name: str, args: argparse.Namespace, seed: int) -> tuple[int, list, list, dict]:
    """Number of classes; images and labels of train, val and test; the settings that paired runs must share.

    `args.train` training images, validation in proportion, `args.test` test images spread over all of them.
    """
    sheet = TASKS[name]
    samples = splits.present_classes(sheet.load(args.data / FOLDERS[name], sheet.classes))
    split = splits.split(sheet, samples, seed)
    split = splits.reduce_train(samples, split, seed, None, min(1.0, args.train / len(split.train)))
    n = min(args.test, len(split.test))
    parts = (split.train, split.val, [split.test[i * len(split.test) // n] for i in range(n)])
    same = {
        **dict(zip(("train", "val", "n"), map(len, parts), strict=True)),
        "epochs": args.epochs or recipes.default_epochs(max(1, len(split.train) // BATCH)),
        "workers": args.workers,
        "fingerprint": split.fingerprint,  # of the complete test set
    }
    images = [_select(samples.images, part) for part in parts]
    return len(samples.classes), images, [np.asarray(samples.labels)[list(part)] for part in parts], same


def _select(images: Sequence, which: Sequence[int]) -> Sequence:
    return images[list(which)] if isinstance(images, np.ndarray) else [images[i] for i in which]


def one(
    name: str, pipeline: str, seed: int, epochs: int, classes: int, images: list, labels: list, args: argparse.Namespace
) -> dict:
    sheet, row = TASKS[name], build.get_backbone("efficientnet_lite0")
    preprocess = row.preprocess(sheet.image_size)
    accelerator = device.make_accelerator(args.device, "auto", row.cpu_bf16)
    where = accelerator.device

    def ours(images: Sequence, labels: np.ndarray) -> Batches:
        pixels, rows = (pixels_to_device(decode(images, preprocess, sheet.native)[0], where), np.arange(len(labels)))
        return Batches(
            pixels=pixels, indices=rows, labels=labels, preprocess=preprocess, batch_size=BATCH, device=where
        )

    def plain(images: Sequence, labels: np.ndarray) -> Plain:
        pictures = Pictures(images, labels.tolist(), preprocess)
        return Plain(pictures=pictures, batch_size=BATCH, device=where, workers=args.workers)

    start = time.perf_counter()
    train, val, test = map({"ours": ours, "plain": plain}[pipeline], images, labels)
    decoded = time.perf_counter()
    torch.manual_seed(seed)
    net = build.create_model(row, classes, weights.load_weights(row, "imagenet", offline=True)[0])
    net.to(where, memory_format=torch.channels_last)

    def validate(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        top1 = classification.score(evaluate(net, val, accelerator), labels[1])["top1"]
        return top1, {"val_top1": top1}

    task = Task(
        net=net,
        head=row.head,
        train=train,
        augment=sheet.augment,
        validate=validate,
        n_selection=len(labels[1]),
        recipe=recipes.clean(epochs, train.steps, row.lr, pretrained=False),
        accelerator=accelerator,
        seed=seed,
    )
    records = []
    trained = finetune(task, records.append)
    net.load_state_dict(trained.weights)
    right = evaluate(net, test, accelerator).argmax(1) == labels[2]
    return {
        "best_epoch": trained.best["epoch"],
        "val_top1": trained.best["val_top1"],
        "top1": float(right.mean()),
        "epoch_seconds": statistics.median(record["train_seconds"] for record in records),
        "decode_seconds": decoded - start,
        "seconds": time.perf_counter() - start,
        "right": "".join("01"[hit] for hit in right.tolist()),  # per test image
    }


def read(path: Path) -> dict[tuple[str, str, int], dict]:
    rows = map(json.loads, path.read_text("utf-8").splitlines()) if path.exists() else ()
    return {(row["dataset"], row["pipeline"], row["seed"]): row for row in rows}


def difference(ours: list[dict], plain: list[dict]) -> tuple[np.ndarray, tuple[float, float]]:
    """Top-1 of ours minus plain: per seed, and the 95 % interval of their mean over test images."""
    of_ours, of_plain = (np.array([[hit == "1" for hit in r["right"]] for r in rows], float) for rows in (ours, plain))
    found = paired_bootstrap(of_ours, of_plain, resamples=10_000)
    return (of_ours - of_plain).mean(1), (found.low, found.high)


def table(rows: dict[tuple[str, str, int], dict]) -> None:
    """Top-1 in percent, differences in points (ours - plain), training seconds per epoch."""
    print(
        f"\n{'dataset':11}{'test':>6}{'ours':>16}{'plain':>16}{'difference, 95 %':>25}"
        f"{'s/epoch':>9}{'plain':>8}{'ratio':>7}  per seed"
    )
    for name in dict.fromkeys(name for name, _, _ in rows):
        seeds = sorted(s for n, p, s in rows if (n, p) == (name, "ours") and (name, "plain", s) in rows)
        if not seeds:
            continue
        pairs = {p: [rows[name, p, seed] for seed in seeds] for p in ("ours", "plain")}
        by_seed, (low, high) = difference(pairs["ours"], pairs["plain"])
        cells = "".join(f"{_spread([100 * r['top1'] for r in side]):>16}" for side in pairs.values())
        mean = f"{100 * by_seed.mean():+.2f} ({100 * low:+.2f} .. {100 * high:+.2f})"
        ours, plain = (statistics.mean(r["epoch_seconds"] for r in side) for side in pairs.values())
        per_seed = ", ".join(f"{100 * d:+.2f}" for d in by_seed)
        times = f"{ours:9.2f}{plain:8.2f}{plain / ours:7.2f}"
        print(f"{name:11}{pairs['ours'][0]['n']:6}{cells}{mean:>25}{times}  {per_seed}")


def _spread(values: list[float]) -> str:
    sd = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "?"
    return f"{statistics.mean(values):.2f} ± {sd}"


def main() -> None:
    parser = argparse.ArgumentParser(description="test accuracy of our pipeline and of torchvision's, paired")
    option = parser.add_argument
    option("--data", type=Path, default=Path("../shared/data"), help=f"folder of {', '.join(FOLDERS.values())}")
    option("--out", type=Path, default=ROOT / "benchmarks/results/same_accuracy.jsonl")
    option("--tasks", nargs="+", default=list(TASKS), choices=TASKS)
    option("--seeds", nargs="+", type=int, default=[0, 1, 2])
    option("--train", type=int, default=2000, help="training images at most (default: %(default)s)")
    option("--test", type=int, default=2000, help="test images at most (default: %(default)s)")
    option("--epochs", type=int, help="default: the recipe's, at least 500 steps")
    option("--workers", type=int, default=os.cpu_count(), help="of the plain pipeline (default: all cores)")
    option("--device", default="auto", choices=("auto", "cpu", "cuda"))
    args = parser.parse_args()

    rows = read(args.out)
    accelerator = device.make_accelerator(args.device, "auto", build.get_backbone("efficientnet_lite0").cpu_bf16)
    about = provenance.collect(accelerator.device, accelerator.mixed_precision.replace("no", "fp32"))
    for name in args.tasks:
        for seed in args.seeds:
            *data, same = load(name, args, seed)
            same |= {k: about[k] for k in ("device", "threads")}
            same["kept"] = "the last within one standard error"  # lines without it: the first of the best
            for pipeline in ("ours", "plain"):
                key = {"dataset": name, "pipeline": pipeline, "seed": seed}
                if old := rows.get((name, pipeline, seed)):
                    if other := [k for k, value in same.items() if old.get(k) != value]:
                        sys.exit(f"{args.out}: {key} has another {', '.join(other)}: name another --out")
                    continue
                scores = one(name, pipeline, seed, same["epochs"], *data, args)
                row = rows[name, pipeline, seed] = {**key, **same, **scores, **about}
                with args.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                print({k: v for k, v in row.items() if k not in about and k != "right"}, flush=True)
    table(rows)


if __name__ == "__main__":
    main()
