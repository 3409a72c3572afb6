"""The smallest run, and the smallest parts of one: a network, its batches, a recipe."""

import numpy as np
import torch
from torch import nn

from common.data.loader import Batches
from common.spec import Augment, Phase, Preprocess, Recipe
from common.training.device import make_accelerator
from common.training.task import Task

TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"]

PLAIN = Preprocess(size=(8, 8), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


def batches(n: int = 40, batch_size: int = 8, **more) -> Batches:
    """Images whose brightness shows their class; `labels` and `pixels` among `more` replace these."""
    labels = more.pop("labels", np.arange(n) % 2)
    noise = np.random.default_rng(0).integers(0, 60, (len(labels), 8, 8, 3))
    pixels = (noise + 120 * labels[:, None, None, None]).astype(np.uint8)
    return Batches(
        pixels=more.pop("pixels", pixels),
        labels=labels,
        indices=np.arange(len(labels)),
        preprocess=PLAIN,
        batch_size=batch_size,
        device=torch.device("cpu"),
        **more,
    )


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def recipe(epochs: int = 4, **more) -> Recipe:
    phase = Phase(steps=5 * epochs, lr=1e-2, weight_decay=0.05, warmup=0.1)
    return Recipe(name="t", phases=(phase,), eval_every=5, **more)


def task(**changes) -> Task:
    """A task of these; every evaluation scores 1."""
    defaults = {
        "net": net(),
        "head": "4",
        "train": batches(),
        "augment": Augment(),
        "validate": lambda net: (1.0, {}),
        "recipe": recipe(),
        "seed": 0,
    }
    if "accelerator" not in changes:  # there is one per process
        changes["accelerator"] = make_accelerator("cpu", "fp32", False)
    return Task(**defaults | changes)
