"""What a run learns from: its samples, their pixels, and who is in train, val and test."""

from typing import TYPE_CHECKING

from ..spec import Preprocess, Run, Samples, Split
from . import split_file, splits
from .cache import cached
from .decode import decode, refuse

if TYPE_CHECKING:
    import numpy as np


def prepare(asked: Run, preprocess: Preprocess) -> tuple[Samples, "np.ndarray", list[int], Split]:
    """The readable samples; all pixels (N, h, w, 3) uint8 and which row of them is whose; who is in which part."""
    samples = read(asked)
    split = _split(asked, samples)  # before the images are decoded: a mistake is told at once
    decoded = decode if asked.no_cache else cached
    pixels, bad = decoded(samples.images, preprocess, asked.dataset.native)
    if not asked.skip_bad:
        refuse(bad, samples.images if isinstance(samples.images, list) else samples.names)
    rows = [i for i in range(len(samples)) if i not in bad]
    if bad:
        samples = splits.only(samples, rows)
        split = _split(asked, samples)
    return samples, pixels, rows, split


def read(asked: Run) -> Samples:
    """The samples as the sheet, `--subset` and `--split_file` tell them, counted."""
    samples = asked.dataset.load(asked.data_dir, asked.dataset.classes)
    if asked.subset:
        samples = splits.present_classes(samples)
    else:
        splits.check_counts(asked.dataset, samples)
    return split_file.apply(asked.split_file, samples) if asked.split_file else samples


def _split(asked: Run, samples: Samples) -> Split:
    split = splits.split(asked.dataset, samples, asked.seed)
    return splits.low_data(samples, split, asked.seed, asked.shots, asked.fraction)
