"""How do other people's tools fine-tune the same network on the same images, at equal CPU seconds?

    python benchmarks/peers.py --data FOLDER --peers ours timm
    ... --peers fastai       # pip install fastai
    ... --peers lightly      # pip install "lightly-train[timm]"
    ... --peers autogluon    # pip install autogluon.multimodal; then, past its pins, pip install -U torch torchvision timm

`ours` is the default recipe of `recipes.py`; its seconds, the probe's among them, are the budget of a peer's training, so `ours` runs
first. A peer trains for the whole number of epochs that comes nearest, once for each of its three rates with the first seed and at the
best of them, for as many epochs, with the others; the seconds of the rates that are not chosen are not counted. Networks, initial weights, decoded pixels and
parts are those of `recipes.py`. Every run is a line of `--out`: the scores of the last weights on validation, which choose the rate, and
on test, which chose nothing. Runs already there are skipped. Seconds are those of the process on one thread, without evaluation.

timm's documentation has no settings for fine-tuning, so `timm` is its train script's defaults (crops, flips, color jitter, label
smoothing, cosine) with AdamW and an average of the weights. `autogluon` is AutoGluon's preset `medium_quality`, the one with a MobileNet
(4e-4; 1e-4 in the others), with batches of 32 in place of 128 and the last weights in place of an average of the checkpoints that validate
best. Quick-Tune is not among the peers: its repositories publish no configuration outside its meta-dataset.
"""

import argparse
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch
from PIL import Image
from torch import nn

from benchmarks import recipes
from benchmarks.default_runs import PROBE, RECIPES
from benchmarks.recipe_tables import best_on_validation
from common.metrics import classification
from common.models import build, weights

NETWORKS = ("efficientnet_lite0", "timm:mobilenetv2_100")
DEFAULT = recipes.config(*recipes.PRETRAINED, 3e-4)
KEYS = ("peer", "network", "data", "seed", "lr")
BATCH_SIZE, CALIBRATION = 32, 64


@dataclass(frozen=True)
class Problem:
    """What a peer may see: a pretrained network of timm and the training images."""

    arch: str
    state: dict[str, torch.Tensor]  # ImageNet weights without the head
    classes: int
    pixels: np.ndarray  # (N, 64, 64, 3) uint8
    labels: np.ndarray  # (N,) int64
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def part(self, n: int) -> "Problem":
        """The same with `n` training images, drawn at random."""
        drawn = np.random.default_rng(0).permutation(len(self.labels))[:n]
        return replace(self, pixels=self.pixels[drawn], labels=self.labels[drawn])


def fit_fastai(problem: Problem, lr: float, epochs: int, seed: int) -> nn.Module:
    """`vision_learner` and `fine_tune`: a frozen epoch, then all layers, one-cycle, default augmentation."""
    from fastai.vision import all as fastai

    fastai.set_seed(seed)
    transforms = [*fastai.aug_transforms(), fastai.Normalize.from_stats(problem.mean, problem.std, cuda=False)]
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock(vocab=list(range(problem.classes)))),
        get_x=lambda i: fastai.PILImage.create(problem.pixels[i]),
        get_y=lambda i: int(problem.labels[i]),
        splitter=lambda items: (list(items), [0]),  # its validation costs no seconds
        batch_tfms=transforms,
    )
    loaders = block.dataloaders(list(range(len(problem.labels))), bs=BATCH_SIZE, num_workers=0)
    learner = fastai.vision_learner(loaders, problem.arch, n_out=problem.classes, pretrained=False)
    learner.model[0].model.load_state_dict(problem.state)
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs, base_lr=lr)
    return learner.model


def fit_timm(problem: Problem, lr: float, epochs: int, seed: int) -> nn.Module:
    """timm's train.py with its default augmentation and smoothing, AdamW, cosine, warm-up and an EMA of the weights."""
    from timm import create_model
    from timm.data import create_transform
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import ModelEmaV3, random_seed

    random_seed(seed)
    net = create_model(problem.arch, num_classes=problem.classes)
    net.load_state_dict(problem.state, strict=False)
    net = net.to(memory_format=torch.channels_last).train()
    ema = ModelEmaV3(net, decay=0.9998, use_warmup=True)
    optimizer = create_optimizer_v2(net, opt="adamw", lr=lr, weight_decay=0.05)
    steps = len(problem.labels) // BATCH_SIZE
    scheduler, _ = create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=min(1, epochs - 1),
        warmup_lr=1e-5,
        step_on_epochs=False,
        updates_per_epoch=steps,
    )
    transform = create_transform(
        problem.pixels.shape[1:3], is_training=True, interpolation="random", mean=problem.mean, std=problem.std
    )
    loss_function, generator = LabelSmoothingCrossEntropy(0.1), np.random.default_rng(seed)
    for step in range(epochs * steps):
        if step % steps == 0:
            order = generator.permutation(len(problem.labels))
        batch = order[step % steps * BATCH_SIZE :][:BATCH_SIZE]
        images = torch.stack([transform(Image.fromarray(problem.pixels[i])) for i in batch])
        loss = loss_function(net(images.to(memory_format=torch.channels_last)), torch.from_numpy(problem.labels[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(net, step)
        scheduler.step_update(step + 1)
    return ema.module


def fit_lightly(problem: Problem, lr: float, epochs: int, seed: int) -> nn.Module:
    """`train_image_classification` on class folders of PNG files, in float32, with a warm-up of a tenth of the steps."""
    os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"  # no usage statistics
    import lightly_train
    from lightly_train._models.timm import timm

    # its own choice, `forward_intermediates`, leaves out the last convolution of EfficientNet and MobileNet and then fails
    timm._get_forward_features_fn = lambda model: timm._forward_features
    steps = epochs * len(problem.labels) // BATCH_SIZE
    names = {i: f"{i:03}" for i in range(problem.classes)}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary)
        for part, indices in (("train", range(len(problem.labels))), ("val", [0])):  # its validation costs no seconds
            for name in names.values():
                (folder / part / name).mkdir(parents=True)
            for i in indices:
                Image.fromarray(problem.pixels[i]).save(folder / part / names[problem.labels[i]] / f"{i}.png")
        torch.save(problem.state, folder / "weights.pt")
        lightly_train.train_image_classification(
            out=folder / "out",
            data={"train": folder / "train", "val": folder / "val", "classes": names},
            model=f"timm/{problem.arch}",
            model_args={"lr": lr, "lr_warmup_steps": steps // 10, "backbone_weights": folder / "weights.pt"},
            transform_args={
                "image_size": problem.pixels.shape[1:3],
                "normalize": {"mean": problem.mean, "std": problem.std},
            },
            steps=steps,
            batch_size=BATCH_SIZE,
            num_workers=0,
            accelerator="cpu",
            devices=1,
            precision="32-true",
            seed=seed,
        )
        net = lightly_train.load_model(folder / "out" / "exported_models" / "exported_last.pt", device="cpu")
    net.forward = net.forward_backend  # logits
    return net


def fit_autogluon(problem: Problem, lr: float, epochs: int, seed: int) -> nn.Module:
    """`MultiModalPredictor` on PNG images: AdamW with a lower rate in earlier stages, warm-up, cosine, TrivialAugment."""
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor
    from timm import create_model

    buffers = [io.BytesIO() for _ in problem.pixels]
    for buffer, image in zip(buffers, problem.pixels, strict=True):
        Image.fromarray(image).save(buffer, "PNG")
    images = pd.DataFrame({"image": [buffer.getvalue() for buffer in buffers], "label": problem.labels})
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "pretrained").mkdir()
        torch.save(problem.state, folder / "pretrained" / "pytorch_model.bin")
        config = {
            "architecture": problem.arch,
            "num_features": create_model(problem.arch).num_features,
            "input_size": (3, *problem.pixels.shape[1:3]),
            "mean": problem.mean,
            "std": problem.std,
        }
        (folder / "pretrained" / "config.json").write_text(json.dumps(config))
        predictor = MultiModalPredictor(
            "label", "multiclass", presets="medium_quality", path=folder / "out", verbosity=0, enable_progress_bar=False
        )
        predictor.fit(
            images,
            tuning_data=images[:1],  # its validation costs no seconds
            column_types={"image": "image_bytearray"},
            hyperparameters={
                "model.names": ["timm_image"],
                "model.timm_image.checkpoint_name": str(folder / "pretrained"),
                "optim.lr": lr,
                "optim.max_epochs": epochs,
                "optim.val_check_interval": 1.0,
                "optim.check_val_every_n_epoch": epochs,  # once, at the end: the last weights
                "env.batch_size": BATCH_SIZE,
                "env.per_gpu_batch_size": BATCH_SIZE,
                "env.num_workers": 0,
                "env.num_gpus": 0,
                "env.accelerator": "cpu",
                "env.precision": 32,
            },
            seed=seed,
        )
    net = predictor._learner._model
    return nn.Sequential(net.model, net.head)  # logits


@dataclass(frozen=True)
class Peer:
    fit: Callable[[Problem, float, int, int], nn.Module]
    rates: tuple[float, ...]
    package: str


PEERS = {
    "fastai": Peer(fit_fastai, (3e-2, 1e-2, 2e-3), "fastai"),
    "timm": Peer(fit_timm, (1e-3, 3e-4, 3e-3), "timm"),
    "lightly": Peer(fit_lightly, (1e-3, 3e-4, 1e-4), "lightly-train"),
    "autogluon": Peer(fit_autogluon, (4e-4, 1e-4, 1e-3), "autogluon.multimodal"),
}


def timed(peer: Peer, problem: Problem, lr: float, epochs: int, seed: int) -> tuple[nn.Module, float]:
    begin = time.process_time()
    net = peer.fit(problem, lr, epochs, seed)
    return net, time.process_time() - begin


measured: dict[tuple[str, str], float] = {}


def seconds_per_image(name: str, problem: Problem) -> float:
    """Of an epoch that trains all layers, from three short runs; once for a peer and a network."""
    if (name, problem.arch) not in measured:
        sample = problem.part(CALIBRATION)
        # the first is slow: kernels are chosen
        _, one, three = (timed(PEERS[name], sample, 1e-3, epochs, 0)[1] for epochs in (1, 1, 3))
        measured[name, problem.arch] = (three - one) / 2 / CALIBRATION
    return measured[name, problem.arch]


@torch.inference_mode()
def logits(net: nn.Module, problem: Problem, pixels: np.ndarray) -> np.ndarray:
    """(N, C) of (N, H, W, 3) uint8."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (problem.mean, problem.std))
    net.eval()
    batches = torch.from_numpy(pixels).permute(0, 3, 1, 2).split(100)
    return torch.cat([net((batch / 255 - mean) / std) for batch in batches]).numpy()


@cache
def make_problem(network: str, bench: str, data: Path) -> tuple[Problem, dict]:
    """The problem and its parts train, val and test."""
    row, source = build.get_backbone(network), recipes.NETWORKS[network]
    parts, classes, _ = recipes.load(bench, data, row.mean, row.std, row.interpolation)
    source = source if source == "imagenet" else str(recipes.SHARED / source)
    net = build.create_model(row, classes, weights.load_weights(row, source, offline=True)[0])
    state = {name: value for name, value in net.state_dict().items() if not name.startswith(f"{row.head}.")}
    train = parts["train"]
    return Problem(row.arch, state, classes, train.pixels, train.labels, row.mean, row.std), parts


def versions(*packages: str) -> dict[str, str]:
    """Those that train: the peer's own, timm and torch."""
    return {package: version(package) for package in dict.fromkeys((*packages, "timm", "torch"))}


def epochs_of(name: str, network: str, bench: str, data: Path, budget: float) -> int:
    problem, _ = make_problem(network, bench, data)
    return max(1, round(budget / (seconds_per_image(name, problem) * len(problem.labels))))


def run(name: str, network: str, bench: str, data: Path, epochs: int, lr: float, seed: int) -> dict:
    peer, (problem, parts) = PEERS[name], make_problem(network, bench, data)
    net, seconds = timed(peer, problem, lr, epochs, seed)
    found = {"epochs": epochs}
    for part in ("val", "test"):
        scores = classification.score(logits(net, problem, parts[part].pixels), parts[part].labels)
        found |= {f"{part}_{metric}": round(scores[metric], 5) for metric in ("top1", "nll")}
    return {**found, "seconds": round(seconds, 1), "versions": versions(peer.package)}


def ours(network: str, bench: str, data: Path, seed: int) -> dict:
    """The default recipe, from `recipes.jsonl` if it is there, which has no versions; the probe's seconds count."""
    runs = [json.loads(line) for line in RECIPES.read_text().splitlines()]
    runs = [run for run in runs if (run["network"], run["data"]) == (network, bench)]
    probe = next((run for run in runs if run["config"] == PROBE), None)
    run = next((run for run in runs if run["config"] == DEFAULT and run["seed"] == seed), None)
    trained_here = {}
    if probe is None or run is None:
        trainer = recipes.Trainer(network, bench, data)
        probe, run = {"seconds": trainer.probe_seconds}, trainer.train(DEFAULT, seed)
        trained_here = {"versions": versions()}
    scores = {name: run[name] for name in ("val_top1", "val_nll", "test_top1", "test_nll")}
    return {**scores, "seconds": round(probe["seconds"] + run["seconds"], 1), **trained_here}


def main() -> None:
    parser = argparse.ArgumentParser(description="compare with other tools at equal seconds")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/peers.jsonl")
    parser.add_argument("--peers", nargs="+", default=["ours"], choices=["ours", *PEERS])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--datasets", nargs="+", default=list(recipes.BENCHMARKS), choices=recipes.BENCHMARKS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--seconds", type=float, help="the budget where there is no run of `ours`")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out.exists() else []
    done = {tuple(row[k] for k in KEYS): row for row in rows}
    order = itertools.product(args.seeds, range(3), args.networks, args.datasets, args.peers)
    for seed, i, network, bench, name in order:
        rates, epochs = (DEFAULT["lr"],) if name == "ours" else PEERS[name].rates, None
        if name != "ours" and seed != args.seeds[0]:
            tried = [run for key, run in done.items() if key[:4] == (name, network, bench, args.seeds[0])]
            first = best_on_validation(tried)
            rates, epochs = (first["lr"],), first["epochs"]
        if i >= len(rates) or (name, network, bench, seed, rates[i]) in done:
            continue
        if name == "ours":
            found = ours(network, bench, args.data, seed)
        else:
            budget = done.get(("ours", network, bench, seed, DEFAULT["lr"]), {}).get("seconds", args.seconds)
            if budget is None:
                parser.error(f"no run of `ours` on {bench} yet: --peers ours first")
            epochs = epochs or epochs_of(name, network, bench, args.data, budget)
            found = run(name, network, bench, args.data, epochs, rates[i], seed)
        key = (name, network, bench, seed, rates[i])
        done[key] = row = {**dict(zip(KEYS, key, strict=True)), **found}
        with args.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
