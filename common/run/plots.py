"""The plots of a finished run."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import rcParams
from matplotlib.figure import Figure

from .fonts import drawable

rcParams["text.parse_math"] = False  # class names may contain $

TRAIN, VAL, BEST = "#8c96a0", "#1f6fb4", "#d1495b"


def learning_curve(path: Path, records: Sequence[dict], best_epoch: float, part: str, title: str) -> None:
    """Loss and top-1 per epoch, of training batches (augmented, smoothed labels) and of `part`, the selection set."""
    trained = [r for r in records if r["step"]]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    panels = ((left, "train_loss", f"{part}_nll", 1, "loss"), (right, "train_top1", f"{part}_top1", 100, "top-1 (%)"))
    for axes, train, val, scale, label in panels:
        for rows, key, color, name in ((trained, train, TRAIN, "train"), (records, val, VAL, part)):
            axes.plot([r["epoch"] for r in rows], [scale * r[key] for r in rows], "o-", ms=3, color=color, label=name)
        axes.axvline(best_epoch, color=BEST, lw=1, ls=":", label="chosen epoch")
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    left.legend(frameon=False)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)


def confusion_matrix(path: Path, counts: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Rows: true classes, as fractions of their images; counts in the cells of small matrices."""
    fractions = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n = len(classes)
    names = list(map(drawable, classes))
    side = min(16, 2.5 + 0.42 * n)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if n <= 60:
        axes.set_xticks(range(n), names, rotation=90, fontsize=8)
        axes.set_yticks(range(n), names, fontsize=8)
    if n <= 20:
        for i, j in np.argwhere(counts):
            axes.text(
                j,
                i,
                counts[i, j],
                ha="center",
                va="center",
                fontsize=7,
                color="white" if fractions[i, j] > 0.5 else "black",
            )
    figure.savefig(path, dpi=120)


def mistakes(path: Path, images: Sequence[np.ndarray], captions: Sequence[str], title: str) -> None:
    """(h, w, 3) uint8 images in rows, with captions: four in a row, three if they are wide."""
    columns = 3 if images[0].shape[1] > 1.5 * images[0].shape[0] else 4
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(8, (2.4 if columns == 4 else 1.7) * rows + 0.4), layout="constrained")
    blank = {"xticks": [], "yticks": [], "frame_on": False}
    axes = figure.subplots(rows, columns, squeeze=False, subplot_kw=blank)
    for ax, image, caption in zip(axes.flat, images, captions, strict=False):
        ax.imshow(image)
        ax.set_title(caption, fontsize=7, y=1.0)  # a given height: no search for one above all ticks
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=80, pil_kwargs={"quality": 80})
