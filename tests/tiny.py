"""The smallest run, and the smallest parts of one: a network, its batches, a recipe."""

import numpy as np
import torch
from torch import nn

from common.data.loader import Batches
from common.spec import Phase, Preprocess, Recipe

TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"]

PLAIN = Preprocess(size=(8, 8), crop=1.0, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3)


def batches(n: int = 40, batch_size: int = 8, **more) -> Batches:
    """Pictures whose brightness tells their class."""
    labels = np.arange(n) % 2
    noise = np.random.default_rng(0).integers(0, 60, (n, 8, 8, 3))
    pixels = (noise + 120 * labels[:, None, None, None]).astype(np.uint8)
    device = torch.device("cpu")
    return Batches(
        pixels=pixels,
        labels=labels,
        indices=np.arange(n),
        preprocess=PLAIN,
        batch_size=batch_size,
        device=device,
        **more,
    )


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def recipe(epochs: int = 4, **more) -> Recipe:
    phase = Phase(steps=5 * epochs, lr=1e-2, weight_decay=0.05, warmup=0.1)
    return Recipe(name="t", phases=(phase,), eval_every=5, **more)
