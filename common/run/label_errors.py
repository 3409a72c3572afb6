"""Labels of a dataset that a linear probe contradicts, as a CSV and a contact sheet."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..data.checks.check import Report
from ..data.images.decode import decode
from ..errors import UserError
from ..files.atomic import atomic_write
from ..files.csv_text import escape
from ..models import build, weights
from ..training import device as devices
from ..transfer import label_errors
from ..transfer.features import Extractor, cached_features
from ..transfer.folds import FOLDS
from . import provenance
from .contact_sheet import GAP, LINE, draw_text, flow, tiles
from .groups import group_indices

SEED = 0  # of the folds
MIN_IMAGES = FOLDS  # of a class: each fold then has one
MAX_TILES = 120  # on the contact sheet
WIDTH = 160  # of a tile with its class names, in pixels
WEAK = 0.5  # precision in the planted test below which most findings are false alarms


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """Labels that are probably wrong, the most certain first."""

    positions: np.ndarray  # (M,) in `Report.samples`
    suggested: np.ndarray  # (M,) classes
    p_label: np.ndarray  # (M,) probability of the label
    p_suggested: np.ndarray  # (M,)
    n_tested: int  # images
    accuracy: float  # of the probe, out of fold
    planted: label_errors.PlantedTest


def find(report: Report, model: str) -> LabelErrors:
    """Fit a probe to the features of all readable images of a checked dataset, and compare it with their labels.

    Raises:
        UserError: fewer than two classes have enough readable images, or the weights are not available.
    """
    positions = _tested(report)
    features = _features(report, positions, model)
    classes, labels = np.unique(np.asarray(report.samples.labels)[positions], return_inverse=True)
    groups = group_indices(report.samples, positions)
    probabilities = label_errors.probabilities(features, labels, groups, SEED)
    found, suggested = label_errors.find(probabilities, labels)
    return LabelErrors(
        positions=positions[found],
        suggested=classes[suggested],
        p_label=probabilities[found, labels[found]],
        p_suggested=probabilities[found, suggested],
        n_tested=len(positions),
        accuracy=float((probabilities.argmax(1) == labels).mean()),
        planted=label_errors.planted_test(features, labels, groups, SEED),
    )


def _tested(report: Report) -> np.ndarray:
    """The positions of readable images, without classes that have too few."""
    positions = np.asarray(report.readable, int)
    labels = np.asarray(report.samples.labels)[positions]
    counts = np.bincount(labels, minlength=len(report.samples.classes))
    if (counts >= MIN_IMAGES).sum() < 2:
        raise UserError(f"--label_errors needs two classes with {MIN_IMAGES} readable images or more")
    return positions[counts[labels] >= MIN_IMAGES]


def _features(report: Report, positions: np.ndarray, model: str) -> np.ndarray:
    backbone, device = build.get_backbone(model), devices.find("auto")
    path, sha256 = weights.fetch(backbone, "imagenet", offline=False)
    extractor = Extractor(
        backbone=backbone,
        weights=path,
        sha256=sha256,
        preprocess=report.preprocess,
        device=device,
        machine=provenance.device_name(device),
        precision=devices.resolve_precision(device, "auto", backbone.cpu_bf16),
        seed=SEED,
    )
    return cached_features(extractor, report.samples.images, positions, report.dataset.native).values


def summary(report: Report, errors: LabelErrors) -> list[str]:
    """The findings, and the recall and precision of the method on changed labels."""
    samples, n = report.samples, len(errors.positions)
    planted, percent = errors.planted, f"{100 * n / errors.n_tested:.1f} %"
    height, width = report.preprocess.size
    lines = [f"labels: {n:,} of {errors.n_tested:,} ({percent}) contradict a linear probe at {height}x{width} pixels, whose accuracy is "
             f"{100 * errors.accuracy:.0f} %"]  # fmt: skip
    if n:
        i, suggested = errors.positions[0], samples.classes[errors.suggested[0]]
        lines[0] += f"; first {samples.names[i]}, suggested {suggested}"
    lines.append(
        f"labels: with {100 * label_errors.PLANTED:.0f} % of the labels changed at random, as a test, it finds "
        f"{100 * planted.fraction_found:.0f} % of them; {100 * planted.precision:.0f} % of its findings are changed labels"
    )
    if planted.precision < WEAK:
        lines.append("labels: the probe is too weak here, most findings are false alarms: check the first ones only")
    if untested := len(samples) - errors.n_tested:
        lines.append(
            f"labels: {untested:,} {'images' if untested > 1 else 'image'} not tested: unreadable, or of classes with fewer than {MIN_IMAGES}"
        )
    return lines


def write_csv(path: Path, report: Report, errors: LabelErrors) -> None:
    """Write a row per suspicious label, the most certain first."""
    samples = report.samples
    with atomic_write(path, "--label_errors") as part, open(part, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(("path", "label", "suggested", "p_label", "p_suggested", "part"))
        for i, suggested, *p in zip(
            errors.positions, errors.suggested, errors.p_label, errors.p_suggested, strict=True
        ):
            classes = (samples.classes[samples.labels[i]], samples.classes[suggested])
            texts = map(escape, (samples.names[i], *classes))
            rows.writerow((*texts, *(f"{value:.4f}" for value in p), report.parts[i]))


def write_sheet(path: Path, report: Report, errors: LabelErrors) -> None:
    """Write a JPEG of the first images with the label and the suggested class."""
    samples, positions = report.samples, errors.positions[:MAX_TILES]
    pixels, _ = decode([samples.images[i] for i in positions], report.preprocess, report.dataset.native)
    images = tiles(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    blocks = []
    for tile, i, suggested in zip(images, positions, errors.suggested[:MAX_TILES], strict=True):
        block = Image.new("RGB", (max(tile.shape[1], WIDTH) + GAP, 2 * LINE + tile.shape[0]), "white")
        draw_text(block, samples.classes[samples.labels[i]], (0, 1))
        draw_text(block, f"> {samples.classes[suggested]}", (0, LINE - 2))
        block.paste(Image.fromarray(tile), (0, 2 * LINE))
        blocks.append(block)
    title = f"{report.dataset.title}: the {len(blocks)} most suspicious labels; label > suggested class"
    with atomic_write(path, "--label_errors") as part:
        flow(blocks, title).save(part, "JPEG", quality=85)
