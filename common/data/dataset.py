"""What a run learns from: its samples, their pixels, who is in train, val and test, and the batches of each."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..spec import Preprocess, RunConfig, Samples, Split
from .images.cache import decode_cached
from .images.decode import decode, raise_unreadable
from .splits import split_file, splits

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from .loader import Batches


def load_dataset(config: RunConfig, preprocess: Preprocess) -> tuple[Samples, "np.ndarray", list[int], Split]:
    """The readable samples; all pixels (N, h, w, 3) uint8 and which row of them is whose; who is in which part.

    The rows are positions in `Samples.images`, too, in which the unreadable ones remain.
    """
    samples = read_samples(config)
    split = make_split(config, samples)  # before the images are decoded: a mistake is told at once
    decoded = decode if config.no_cache else decode_cached
    pixels, bad = decoded(samples.images, preprocess, config.dataset.native)
    if not config.skip_bad:
        raise_unreadable(bad, samples.images if isinstance(samples.images, list) else samples.names)
    rows = [i for i in range(len(samples)) if i not in bad]
    if bad:
        samples = replace(splits.subset(samples, rows), images=samples.images)
        split = make_split(config, samples)
    return samples, pixels, rows, split


def read_samples(config: RunConfig) -> Samples:
    """The samples as the sheet, `--subset` and `--split_file` tell them, counted."""
    samples = config.dataset.load(config.data_dir, config.dataset.classes)
    if config.subset:
        samples = splits.present_classes(samples)
    else:
        splits.check_counts(config.dataset, samples)
    return split_file.apply(config.split_file, samples) if config.split_file else samples


def make_split(config: RunConfig, samples: Samples) -> Split:
    """Who is in which part, as the sheet, the protocol, `--shots` and `--fraction` tell it."""
    split = splits.split(config.dataset, samples, config.seed)
    if config.protocol == "paper":
        split = splits.without_val(samples, split)
    return splits.reduce_train(samples, split, config.seed, config.shots, config.fraction)


def make_loaders(
    config: RunConfig,
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
    pieces = world * config.micro_batches
    if config.batch_size % pieces:
        raise UserError(
            f"-bs {config.batch_size}: expected a multiple of {pieces}, for {world} processes and --micro_bs"
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
                batch_size=config.batch_size,
                device=accelerator.device,
                channels_last=channels_last,
                micro_batches=config.micro_batches,
                balanced=config.balanced_sampling,
                rank=accelerator.process_index,
                world=world,
            )
    return found
