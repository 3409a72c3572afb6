"""On real images and real ImageNet weights, where they are at hand (CLASH_SHARED, or ../shared)."""

import numpy as np
import pytest

import cifar10
import eurosat
import flowers102
import plantvillage
import tinyimagenet
import ucmerced
from common.data.images.decode import decode
from common.data.splits import requirements, splits
from common.models import build, weights


def test_real_weights_know_real_photographs(real) -> None:
    """Lite0 on every tenth ImageNet class, one picture each, through our preprocessing. A sanity check, not a score."""
    from common.data.loader import Batches
    from common.training.device import make_accelerator
    from common.training.evaluate import evaluate

    folders = sorted((real("imagenet_check_small") / "val").iterdir())  # every fifth of the 1,000 classes
    images = [str(next(f.iterdir())) for f in folders][::2]
    row = build.get_backbone("efficientnet_lite0")
    net = build.create_model(row, 1000, weights.load_weights(row, "imagenet", offline=True)[0], keep_head=True)
    pixels, bad = decode(images, row.preprocess(), None)
    labels = np.arange(0, 1000, 10)
    run = make_accelerator("cpu", "fp32", False)
    data = Batches(
        pixels=pixels,
        labels=labels,
        indices=np.arange(len(labels)),
        preprocess=row.preprocess(),
        batch_size=25,
        device=run.device,
    )
    assert not bad and (evaluate(net, data, run).argmax(1) == labels).mean() > 0.8


def test_eurosat_is_complete(real) -> None:
    samples = eurosat.DATASET.load(real("eurosat"), eurosat.DATASET.classes)
    requirements.check_counts(eurosat.DATASET, samples)
    split = splits.split(eurosat.DATASET, samples, seed=0)
    # the same as of a list of names alone (test_splits.py)
    assert (len(split.test), split.fingerprint) == (8_100, "3a80cb75c5ddf230")


def test_cifar10_subset(real) -> None:
    samples = cifar10.DATASET.load(real("cifar10_small"), cifar10.DATASET.classes)
    assert samples.images.shape == (6_000, 32, 32, 3)
    with pytest.raises(Exception, match=r"found 5,000 images train \(expected 50,000\)"):
        requirements.check_counts(cifar10.DATASET, samples)


def test_flowers_subset(real) -> None:
    samples = flowers102.DATASET.load(real("flowers102_small"), flowers102.DATASET.classes)
    assert [samples.parts.count(part) for part in ("train", "val", "test")] == [200, 200, 120]
    subset = splits.present_classes(samples)
    assert len(subset.classes) == 20 and subset.classes[0] == "snapdragon"


def test_tinyimagenet_subset(real) -> None:
    sheet = tinyimagenet.DATASET
    samples = sheet.load(real("tinyimagenet_small"), sheet.classes)
    assert [samples.parts.count(part) for part in ("train", "test")] == [5_000, 1_000]
    assert len(samples.classes) == 200 and samples.classes[0] == "n01443537 goldfish"
    with pytest.raises(Exception, match=r"found 5,000 images train \(expected 100,000\)"):
        requirements.check_counts(sheet, samples)
    pixels, bad = decode(samples.images[::25], build.get_backbone("resnet50").preprocess((128, 128)), sheet.native)
    assert pixels.shape == (240, 64, 64, 3) and not bad


def test_ucmerced_subset(real) -> None:
    sheet = ucmerced.DATASET
    samples = sheet.load(real("ucmerced_small"), sheet.classes)
    assert len(samples) == 84 and set(samples.labels) == set(range(21))
    pixels, bad = decode(samples.images, build.get_backbone("resnet50").preprocess((256, 256)), None)
    assert pixels.shape == (84, 256, 256, 3) and not bad


def test_plantvillage_subset(real) -> None:
    """Another edition, of 15 classes: class folders are read as they are found, and the sheet says what is missing."""
    sheet = plantvillage.DATASET
    samples = sheet.load(real("plantvillage_small"), sheet.classes)
    assert (len(samples), len(samples.classes), samples.groups) == (300, 15, None)
    with pytest.raises(Exception, match=r"found 15 classes \(expected 39\)"):
        requirements.check_counts(sheet, samples)
