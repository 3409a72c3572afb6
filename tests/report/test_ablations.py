"""Costs, low data, selection on test."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
from fabricated_runs import build, fabricate, fabricate_grid, page_text

from common.report import more_images
from common.report.ablations import low_data, optimism
from common.report.costs import tradeoffs
from common.report.more_images import gain
from common.report.significance import rank_backbones
from common.run.predictions import RunPredictions, write_confusion, write_predictions
from common.statistics.learning_curve import Gain, gain_of_doubling


def test_pareto_front(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    section = build(runs)[0]
    by_cost = {t.cost.name: t for t in tradeoffs(section, rank_backbones(section))}
    assert set(by_cost) == {"macs", "parameters", "train_images_per_second", "peak_memory_bytes", "train_seconds"}
    assert by_cost["train_seconds"].front == ("resnet50",)  # equal costs
    assert by_cost["macs"].front == ("swin_t", "convnext_tiny", "resnet50")  # the better, the costlier
    assert by_cost["train_images_per_second"].front == ("swin_t", "convnext_tiny", "resnet50")
    fabricate(runs / "elsewhere", "eurosat", "resnet50", 2, 0.9, device="another")
    section = build(runs)[0]
    assert {t.cost.name for t in tradeoffs(section, rank_backbones(section))} == {"macs", "parameters"}


def test_low_data_and_optimism(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    paper = {"protocol": "paper", "chosen_on": "test", "best": {"test_top1": 1.0}, "test_last": {"top1": 0.5}}
    fabricate(runs / "all", "dtd", "resnet50", 0, 0.9)
    best = fabricate(runs / "paper", "dtd", "resnet50", 0, 0.9, **paper)["test"]["top1"]["value"]
    scores = []
    for shots, fine_tuned, probe in ((5, 0.3, 0.7), (20, 0.95, 0.5)):
        split = {"kind": "clean", "fingerprint": f"{shots:016}", "train": 3 * shots, "val": 6, "test": 120}
        for name, accuracy, protocol in (("s", fine_tuned, "clean"), ("p", probe, "probe")):
            run = {"shots": shots, "split": split, "protocol": protocol}
            result = fabricate(runs / f"{name}{shots}", "dtd", "resnet50", 0, accuracy, **run)
            scores.append(result["test"]["top1"]["value"])
    sections = build(runs)
    (low,) = low_data(sections)
    assert [x for x, _ in low.curves["resnet50 (clean)"]] == [15, 60, 80]
    assert low.crossovers == (("resnet50", "clean", 60),)
    assert not low.gains  # 60 of 80 images are too near to them
    (bias,) = optimism(sections)
    assert (bias.best, bias.last) == (best, 0.5) and bias.clean is not None
    html_text = page_text(runs)
    assert "resnet50: protocol clean overtakes the probe from 60 images on." in html_text
    assert all(f"{100 * value:.2f}" in html_text for value in scores)
    assert "Selection on the test set" in html_text


def test_the_gain_of_twice_the_images(tmp_path: Path) -> None:
    """From runs on all images, a half and a quarter, seeds averaged; 60 of 80 images are too near to them."""
    runs = tmp_path / "runs"
    for train, accuracy in ((20, 0.5), (40, 0.7), (60, 0.1), (80, 0.8)):
        split = {"kind": "clean", "fingerprint": f"{train:016}", "train": train, "val": 6, "test": 120, "unused": 0}
        for seed in (0, 1):
            size = {"fraction": train / 80 if train < 80 else None, "split": split}
            fabricate(runs / f"{train}-{seed}", "dtd", "swin_t", seed, accuracy, **size)
    (low,) = low_data(build(runs))
    (found,) = low.gains.values()
    assert 0 < found.interval[0] < found.mean < found.interval[1] < 0.25 and found.mean < 0.12
    assert "swin_t: twice as many images, +" in page_text(runs)
    (runs / "20-0" / "test_logits.npy").unlink()
    assert not low_data(build(runs))[0].gains


def test_a_gain_is_that_of_the_metric_and_wider_with_one_seed(tmp_path: Path) -> None:
    """Balanced accuracy counts the images of a rare class more."""
    classes, labels = ("a", "b"), np.repeat([0, 1], (110, 10))
    cells = {}
    for images, rare in ((20, 0), (50, 5), (80, 8)):  # images of the rare class that are right
        folders = [tmp_path / f"{images}-{seed}" for seed in range(8)]
        for folder in folders:
            folder.mkdir()
            logits = np.eye(2, dtype=np.float32)[np.where(np.arange(120) < 110 + rare, labels, 0)]
            write_predictions(folder, RunPredictions(tuple(map(str, range(120))), labels, classes, logits))
            write_confusion(folder, np.eye(2, dtype=int), classes)
        cells[images] = [SimpleNamespace(folder=folder) for folder in folders]

    def found(metric: str, seeds: int) -> Gain:
        return gain({n: SimpleNamespace(runs=runs[:seeds]) for n, runs in cells.items()}, metric)

    correct = np.arange(120) < 110 + np.array([[0], [5], [8]])
    direct = gain_of_doubling(correct, noise=more_images.NOISE, misfit=more_images.MISFIT, sizes=(20, 50, 80))
    assert found("top1", 1) == direct != gain_of_doubling(correct, noise=more_images.NOISE, misfit=more_images.MISFIT)
    assert found("balanced_accuracy", 1).mean > 3 * found("top1", 1).mean > 0
    one, eight = (found("top1", seeds).interval for seeds in (1, 8))
    assert one[1] - one[0] > 1.005 * (eight[1] - eight[0])
