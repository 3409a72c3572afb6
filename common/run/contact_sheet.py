"""A contact sheet: images of every class as the network receives them, above the same images augmented."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..data.augment import augment as augmentation
from ..data.checks.report import Report
from ..data.dataset import LoadedDataset
from ..data.images.decode import decode
from ..errors import UserError
from ..files.atomic import atomic_write
from ..spec import Augment, Preprocess, RunConfig
from ..training.recipes import mean_crop
from .fonts import font_for

PER_CLASS = ((12, 4), (60, 2))  # (up to this many classes, images of each); one image for more classes
MAX_CLASSES = 400
TILE, GAP, WIDTH, MARGIN, LINE = 112, 2, 1420, 12, 20  # pixels
FONT_SIZE = 13


@dataclass(frozen=True, kw_only=True)
class SheetImages:
    """The images to show, class by class."""

    pixels: np.ndarray  # (N, h, w, 3) uint8, as decoded
    labels: np.ndarray  # (N,) int, sorted
    classes: Sequence[str]
    preprocess: Preprocess
    augment: Augment


def of_run(config: RunConfig, dataset: LoadedDataset) -> SheetImages:
    """Training images of a run; a probe does not augment them."""
    labels = np.asarray(dataset.samples.labels)
    positions = sample_positions(labels, dataset.split.train)
    return SheetImages(
        pixels=dataset.pixels[dataset.indices[positions]],
        labels=labels[positions],
        classes=dataset.samples.classes,
        preprocess=dataset.preprocess,
        augment=Augment() if config.protocol == "probe" else config.dataset.augment,
    )


def of_report(report: Report) -> SheetImages:
    """Readable images of a checked dataset outside test; all of them without a split."""
    samples, dataset = report.samples, report.dataset
    if not (readable := report.readable):
        raise UserError("--sheet: none of the images can be read")
    labels = np.asarray(samples.labels)
    positions = sample_positions(labels, [i for i in readable if report.parts[i] != "test"] or readable)
    preprocess = replace(report.preprocess, crop_pct=mean_crop(dataset.augment.crop))
    return SheetImages(
        pixels=decode([samples.images[i] for i in positions], preprocess, dataset.native)[0],
        labels=labels[positions],
        classes=samples.classes,
        preprocess=preprocess,
        augment=dataset.augment,
    )


def sample_positions(labels: Sequence[int], positions: Sequence[int]) -> np.ndarray:
    """Random `positions`, the same number of each class, sorted by class; every n-th class above `MAX_CLASSES`."""
    shuffled = np.random.default_rng(0).permutation(np.asarray(positions, int))
    label_of = np.asarray(labels)[shuffled]
    present = np.unique(label_of)
    n = next((n for limit, n in PER_CLASS if len(present) <= limit), 1)
    step = -(-len(present) // MAX_CLASSES)
    return np.concatenate([shuffled[label_of == label][:n] for label in present[::step]])


def write_contact_sheet(path: Path, sheet: SheetImages, title: str, option: str = "--out") -> None:
    """Write a JPEG. `option` sets the file, for errors."""
    images = torch.from_numpy(np.array(sheet.pixels)).permute(0, 3, 1, 2).float()
    rows = [tiles(augmentation.eval_transform(images, sheet.preprocess))]
    augment = sheet.augment
    if augment != Augment():
        params = augmentation.sample_params(augment, len(images), tuple(images.shape[2:]), seed=0, epoch=1)
        rows.append(tiles(augmentation.apply(images, params, sheet.preprocess.size)))
        title += "; below each image an augmented version of it"
    blocks = []
    for label in np.unique(sheet.labels):
        chosen = sheet.labels == label
        blocks.append(_captioned([row[chosen] for row in rows], sheet.classes[label]))
    with atomic_write(path, option) as part:
        flow(blocks, title).save(part, "JPEG", quality=85)


def tiles(images: Tensor) -> np.ndarray:
    """(N, 3, H, W) in 0..255 -> (N, h, w, 3) uint8, at most `TILE` high and wide."""
    scale = TILE / max(images.shape[2:])
    if scale < 1:
        images = F.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
    elif scale >= 2:  # whole pixels
        images = F.interpolate(images, scale_factor=int(scale), mode="nearest")
    return images.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()


def _captioned(rows: Sequence[np.ndarray], name: str) -> Image.Image:
    """Rows of (n, h, w, 3) images of a class under its name, truncated to their width."""
    n, height, width = rows[0].shape[:3]
    height, width = height + GAP, width + GAP
    block = Image.new("RGB", (max(n * width, TILE), LINE + len(rows) * height), "white")
    draw_text(block, name, (0, 1))
    for y, row in enumerate(rows):
        for x, tile in enumerate(row):
            block.paste(Image.fromarray(tile), (x * width, LINE + y * height))
    return block


def flow(blocks: Sequence[Image.Image], title: str) -> Image.Image:
    """Blocks in lines under the title."""
    width, height = (max(side) + MARGIN for side in zip(*(block.size for block in blocks), strict=True))
    columns = max(1, min(len(blocks), (WIDTH - MARGIN) // width))
    lines = -(-len(blocks) // columns)
    sheet = Image.new("RGB", (max(columns * width, WIDTH // 2) + MARGIN, LINE + MARGIN + lines * height), "white")
    draw_text(sheet, title, (MARGIN, MARGIN // 2))
    for i, block in enumerate(blocks):
        line, column = divmod(i, columns)
        sheet.paste(block, (MARGIN + column * width, LINE + MARGIN + line * height))
    return sheet


def draw_text(image: Image.Image, text: str, position: tuple[int, int]) -> None:
    file, text = font_for(text)
    font = ImageFont.truetype(file, FONT_SIZE)
    room = image.width - position[0]
    if font.getlength(text) > room:
        while text and font.getlength(f"{text}...") > room:
            text = text[:-1]
        text += "..."
    ImageDraw.Draw(image).text(position, text, "black", font)
