"""What a run learns from: its samples, their pixels, who is in train, val and test, and the batches of each."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..spec import Preprocess, Run, Samples, Split
from .images.cache import cached
from .images.decode import decode, refuse
from .splits import split_file, splits

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from .loader import Batches


def prepare(asked: Run, preprocess: Preprocess) -> tuple[Samples, "np.ndarray", list[int], Split]:
    """The readable samples; all pixels (N, h, w, 3) uint8 and which row of them is whose; who is in which part.

    The rows are positions in `Samples.images`, too, in which the unreadable ones remain.
    """
    samples = read(asked)
    split = divide(asked, samples)  # before the images are decoded: a mistake is told at once
    decoded = decode if asked.no_cache else cached
    pixels, bad = decoded(samples.images, preprocess, asked.dataset.native)
    if not asked.skip_bad:
        refuse(bad, samples.images if isinstance(samples.images, list) else samples.names)
    rows = [i for i in range(len(samples)) if i not in bad]
    if bad:
        samples = replace(splits.only(samples, rows), images=samples.images)
        split = divide(asked, samples)
    return samples, pixels, rows, split


def read(asked: Run) -> Samples:
    """The samples as the sheet, `--subset` and `--split_file` tell them, counted."""
    samples = asked.dataset.load(asked.data_dir, asked.dataset.classes)
    if asked.subset:
        samples = splits.present_classes(samples)
    else:
        splits.check_counts(asked.dataset, samples)
    return split_file.apply(asked.split_file, samples) if asked.split_file else samples


def divide(asked: Run, samples: Samples) -> Split:
    """Who is in which part, as the sheet, the protocol, `--shots` and `--fraction` tell it."""
    split = splits.split(asked.dataset, samples, asked.seed)
    if asked.protocol == "paper":
        split = splits.without_val(samples, split)
    return splits.low_data(samples, split, asked.seed, asked.shots, asked.fraction)


def batches(
    asked: Run,
    samples: Samples,
    pixels: Any,
    rows: list[int],
    split: Split,
    preprocess: Preprocess,
    channels_last: bool,
    accelerator: "Accelerator",
) -> dict[str, "Batches"]:
    """The parts that have images, ready to be batched.

    Raises:
        UserError: a batch, or a part, has no equal piece for every process and forward pass.
    """
    import numpy as np

    from .loader import Batches

    world = accelerator.num_processes
    pieces = world * asked.micro_batches
    if asked.batch_size % pieces:
        raise UserError(
            f"-bs {asked.batch_size}: expected a multiple of {pieces}, for {world} processes and --micro_bs"
        )
    where, labels = np.asarray(rows), np.asarray(samples.labels)
    found: dict[str, Batches] = {}
    for name, least in (("train", pieces), ("val", world), ("test", world)):
        part = list(getattr(split, name))
        if 0 < len(part) < least:
            raise UserError(
                f"{len(part)} images in {name}, {least} needed for {world} processes and --micro_bs"
            )
        if part:
            found[name] = Batches(
                pixels=pixels,
                rows=where[part],
                labels=labels[part],
                preprocess=preprocess,
                batch_size=asked.batch_size,
                device=accelerator.device,
                channels_last=channels_last,
                micro_batches=asked.micro_batches,
                balanced=asked.balanced_sampling,
                rank=accelerator.process_index,
                world=world,
            )
    return found
