"""From a run's options to its dataset: samples, decoded pixels, split, and the batches of each part."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..spec import PARTS, Preprocess, RunConfig, Samples, Split
from .checks.conflicts import find_conflicts, format_conflicts
from .images.cache import decode_cached
from .images.decode import decode, raise_unreadable
from .images.value_range import with_value_range
from .readers.files import check_missing
from .readers.layout import format_layout
from .readers.unpacked import data_folder
from .splits import requirements, split_file, splits

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from .loader import Batches


@dataclass(frozen=True, kw_only=True)
class LoadedDataset:
    """The readable samples of a dataset with their pixels and their split.

    Unreadable and dropped images remain in `pixels` and `samples.images`, so that caches keep their names: `indices` are
    the positions of the others in both.
    """

    samples: Samples  # n of them
    pixels: "np.ndarray"  # (N, h, w, 3) uint8
    indices: "np.ndarray"  # (n,) int64
    split: Split  # positions in `samples`
    preprocess: Preprocess  # of `pixels`
    n_unreadable: int
    conflicts: Mapping[str, Any]  # images under several labels: {"sets", "images", "dropped"}


def load_dataset(config: RunConfig, preprocess: Preprocess, log: Callable[[dict[str, Any]], None]) -> LoadedDataset:
    """Read, split and decode the images of a run, or load decoded ones from the cache; layout and caveats go to `log`.

    Raises:
        UserError: anything wrong with the data; all of it is found here, before torch is imported.
    """
    import numpy as np

    samples = read_samples(config)
    split = make_split(config, samples)  # before decoding, which may take minutes
    if line := "; ".join([*format_layout(samples), *split.caveats]):
        log({"data": line})
    preprocess = fit_preprocess(config, preprocess, samples, split)
    decoded = decode if config.no_cache else decode_cached
    pixels, bad = decoded(samples.images, preprocess, config.dataset.native)
    if not config.skip_bad:
        raise_unreadable(bad, samples.images if isinstance(samples.images, list) else samples.names)
    indices = [i for i in range(len(samples)) if i not in bad]
    conflicts = find_conflicts(pixels, samples.labels, indices)
    if conflicts:
        log({"data": format_conflicts(conflicts, samples.names, config.drop_conflicts)})
    in_conflict = {i for members in conflicts for i in members}
    if config.drop_conflicts:
        indices = [i for i in indices if i not in in_conflict]
    if len(indices) < len(samples):
        samples = replace(splits.subset(samples, indices), images=samples.images)
        split = make_split(config, samples)
    return LoadedDataset(
        samples=samples,
        pixels=pixels,
        indices=np.asarray(indices),
        split=split,
        preprocess=preprocess,
        n_unreadable=len(bad),
        conflicts={"sets": len(conflicts), "images": len(in_conflict), "dropped": config.drop_conflicts},
    )


def fit_preprocess(config: RunConfig, preprocess: Preprocess, samples: Samples, split: Split) -> Preprocess:
    """`preprocess` with `--bands` and the value range, given or estimated; the same for all seeds.

    Raises:
        UserError: see `with_value_range`.
    """
    preprocess = replace(preprocess, value_range=config.value_range, bands=config.bands)
    outside_test = sorted(set(range(len(samples))) - set(split.test))
    fitted = with_value_range(preprocess, samples.images, outside_test, cache=not config.no_cache)
    if fitted.value_range != preprocess.value_range and int(os.environ.get("RANK", 0)) == 0:
        low, high = fitted.value_range
        print(
            f"values {low:g} to {high:g}, estimated on images outside test, become 0 to 255; --value_range LOW HIGH overrides",
            file=sys.stderr,
        )
    return fitted


def read_samples(config: RunConfig) -> Samples:
    """The samples that the data sheet, `--subset` and `--split_file` define; their counts are checked."""
    folder = config.data_dir and data_folder(config.data_dir)
    samples = config.dataset.load(folder, config.dataset.classes)
    if config.subset:
        samples = splits.present_classes(samples)
    else:
        check_missing(samples, folder)
        requirements.check_counts(config.dataset, samples)
    return split_file.apply(config.split_file, samples) if config.split_file else samples


def make_split(config: RunConfig, samples: Samples) -> Split:
    """The split that the data sheet, the protocol, `--shots` and `--fraction` define."""
    split = splits.split(config.dataset, samples, config.seed)
    if config.protocol == "paper":
        split = splits.without_val(samples, split)
    return splits.reduce_train(samples, split, config.seed, config.shots, config.fraction)


def make_loaders(
    config: RunConfig, dataset: LoadedDataset, channels_last: bool, accelerator: "Accelerator"
) -> dict[str, "Batches"]:
    """{part: its batches} of the parts that have images; the pixels are on the GPU if they fit.

    Raises:
        UserError: a batch, or a part, cannot be divided over the processes and forward passes.
    """
    import numpy as np

    from .loader import Batches, pixels_to_device

    world = accelerator.num_processes
    divisor = world * config.micro_batches
    if config.batch_size % divisor:
        raise UserError(
            f"-bs {config.batch_size}: expected a multiple of {divisor}, for {world} processes and --micro_bs"
        )
    positions = {name: list(getattr(dataset.split, name)) for name in PARTS}
    for name, needed in zip(PARTS, (divisor, world, world), strict=True):
        if 0 < len(positions[name]) < needed:
            raise UserError(
                f"{len(positions[name])} images in {name}, {needed} needed for {world} processes and --micro_bs"
            )
    labels = np.asarray(dataset.samples.labels)
    pixels = pixels_to_device(dataset.pixels, accelerator.device)
    return {
        name: Batches(
            pixels=pixels,
            indices=dataset.indices[part],
            labels=labels[part],
            preprocess=dataset.preprocess,
            batch_size=config.batch_size,
            device=accelerator.device,
            channels_last=channels_last,
            micro_batches=config.micro_batches,
            balanced=config.balanced_sampling,
            rank=accelerator.process_index,
            world=world,
        )
        for name, part in positions.items()
        if part
    }
