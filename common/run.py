"""One run from start to finish: the only place where all parts meet.

Whatever can be wrong with the data is found before torch is loaded and before anything is written.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from . import results
from .atomic import whole
from .data import split_file, splits
from .data.cache import cached
from .data.decode import decode, refuse
from .errors import UserError
from .models import backbones, weights
from .spec import Preprocess, Recipe, Run, Samples, Speed, Split

if TYPE_CHECKING:
    import numpy as np


def run(asked: Run, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Fine-tune, choose the epoch on validation, look at test once; returns what `result.json` holds.

    `tell` is given the run's configuration at its start and then a record per epoch. Of several processes the first
    alone tells, writes and returns something.
    """
    started = time.perf_counter()
    dataset, row = asked.dataset, backbones.find(asked.model)
    preprocess = row.preprocess(asked.image_size)
    samples, pixels, rows, split = _read(asked, preprocess)

    import numpy as np
    import torch

    from .data.loaders import Batches, place
    from .measure import cost, metrics, stats
    from .training import device, recipes
    from .training.evaluate import evaluate
    from .training.finetune import finetune
    from .training.tune import tune

    micro_bs = asked.micro_bs or asked.batch_size
    micro_batches = asked.batch_size // micro_bs
    steps = max(1, len(split.train) // asked.batch_size)
    recipe = recipes.clean(asked.epochs or recipes.epochs_for(steps), asked.lr or row.lr)
    speed = Speed(precision=asked.precision, compiled=asked.compile)
    if asked.tune:
        where = device.find(asked.device)
        with device.batch_limits(micro_bs):
            speed = tune(
                partial(backbones.build, row, len(samples.classes), None),
                row.name,
                where,
                results.device_name(where),
                asked.precision,
                (micro_bs, 3, *preprocess.size),
                recipe.epochs * steps * micro_batches,
            )
    accelerator = device.accelerator(asked.device, speed.precision, row.cpu_bf16, micro_batches)
    first, world = accelerator.is_main_process, accelerator.num_processes
    pieces = world * micro_batches
    if asked.batch_size % pieces or min(map(len, (split.train, split.val, split.test))) < pieces:
        raise UserError(
            f"-bs {asked.batch_size} in {pieces} pieces ({world} processes): expected a multiple, and as many images in every part"
        )
    torch.manual_seed(asked.seed)
    state, weights_sha256 = weights.read(row, asked.weights, asked.offline)
    net = backbones.build(row, len(samples.classes), state)
    skipped = len(pixels) - len(samples)
    pixels, rows, labels = place(pixels, accelerator.device), np.asarray(rows), np.asarray(samples.labels)
    train, val, test = (
        Batches(
            pixels=pixels,
            rows=rows[list(part)],
            labels=labels[list(part)],
            preprocess=preprocess,
            batch_size=asked.batch_size,
            device=accelerator.device,
            channels_last=speed.channels_last,
            micro_batches=micro_batches,
            rank=accelerator.process_index,
            world=world,
        )
        for part in (split.train, split.val, split.test)
    )
    config = {
        **_described(asked, row, recipe, preprocess, samples, split, skipped),
        "weights_sha256": weights_sha256,
        "parameters": cost.parameters(net),
        "macs": cost.macs(net, preprocess.size),
        **results.provenance(accelerator.device, accelerator.mixed_precision.replace("no", "fp32")),
        "memory_format": "channels_last" if speed.channels_last else "contiguous",
        "compiled": speed.compiled,
    }
    records: list[dict[str, Any]] = []

    def choose(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        scores = metrics.score(evaluate(net, val, accelerator), val.labels)
        return scores[dataset.metric], {f"val_{name}": value for name, value in scores.items()}

    with (
        results.run_folder(asked.out, config, write=first) as log,
        device.batch_limits(micro_bs),
    ):

        def report(record: dict[str, Any]) -> None:
            records.append(record)
            if first:
                log(record)
                tell(record)

        if first:
            with whole(asked.out / "split.csv") as part:
                split_file.write(part, samples, split)
            tell(config)
        net.to(accelerator.device, memory_format=train.memory_format)
        if speed.compiled:
            net.compile()
        with cost.Clock(accelerator.device) as training:
            best = finetune(
                net, row.head, train, dataset.augment, choose, recipe, accelerator, asked.seed, report
            )
        if first:
            results.write_weights(asked.out, net, row.name, samples.classes, preprocess, dataset.native)
        with cost.Clock(accelerator.device) as testing:
            logits = evaluate(net, test, accelerator)  # the one look at test
    if not first:
        return None

    scores = metrics.score(logits, test.labels)
    intervals = stats.bootstrap(metrics.scorer(logits, test.labels), len(test), asked.seed)
    result = {
        **config,
        "metric": dataset.metric,
        "test": {name: {"value": value, "interval": intervals.get(name)} for name, value in scores.items()},
        "best": best,
        "cost": {
            "train_images_per_second": statistics.median(r["train_images_per_second"] for r in records),
            "test_images_per_second": len(test) / testing.seconds,
            "peak_memory_bytes": cost.peak_memory(accelerator.device),
            "train_seconds": training.seconds,
            "total_seconds": time.perf_counter() - started,
        },
    }
    from . import pictures  # not before training: it would wait for matplotlib

    confusion = metrics.confusion(logits, test.labels)
    title = f"{dataset.title}, {row.name}"
    with whole(asked.out / "curve.png") as part:
        pictures.learning_curve(part, records, best["epoch"], title)
    with whole(asked.out / "confusion.png") as part:
        pictures.confusion_matrix(part, confusion, samples.classes, title)
    names = [samples.names[i] for i in split.test]
    results.write_predictions(asked.out, names, test.labels, logits, samples.classes)
    results.write_confusion(asked.out, confusion, samples.classes)
    results.write_json(asked.out / results.RESULT, result)  # last: it says that all the rest is there
    return result


def _described(
    asked: Run,
    row: backbones.Backbone,
    recipe: Recipe,
    preprocess: Preprocess,
    samples: Samples,
    split: Split,
    skipped: int,
) -> dict[str, Any]:
    """What was asked for and what it came to, as `config.json` and `result.json` tell it."""
    return {
        "dataset": asked.dataset.name,
        "fold": asked.dataset.fold,
        "backbone": row.name,
        "weights": row.weights if asked.weights == "imagenet" else asked.weights,
        "protocol": recipe.name,
        "chosen_on": "val",
        "seed": asked.seed,
        "batch_size": asked.batch_size,
        "micro_bs": asked.micro_bs or asked.batch_size,
        "recipe": asdict(recipe),
        "augment": asdict(asked.dataset.augment),
        "preprocess": asdict(preprocess),
        "classes": len(samples.classes),
        "split": {
            "kind": asked.split,
            "fingerprint": split.fingerprint,
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "unused": len(samples) - len(split.train) - len(split.val) - len(split.test),
        },
        "split_file": asked.split_file and str(asked.split_file),
        "shots": asked.shots,
        "fraction": asked.fraction,
        "subset": asked.subset,
        "skipped_images": skipped,
        "caveats": asked.dataset.caveats,
    }


def _read(asked: Run, preprocess: Preprocess) -> tuple[Samples, "np.ndarray", list[int], Split]:
    """The readable samples; all pixels (N, h, w, 3) uint8 and which row of them is whose; who is in which part."""
    dataset = asked.dataset
    samples = dataset.load(asked.data_dir, dataset.classes)
    if asked.subset:
        samples = splits.present_classes(samples)
    else:
        splits.check_counts(dataset, samples)
    if asked.split_file:
        samples = split_file.apply(asked.split_file, samples)
    split = _split(asked, samples)  # before the images are decoded: a mistake is told at once
    decoded = decode if asked.no_cache else cached
    pixels, bad = decoded(samples.images, preprocess, dataset.native)
    if not asked.skip_bad:
        refuse(bad, samples.images if isinstance(samples.images, list) else samples.names)
    rows = [i for i in range(len(samples)) if i not in bad]
    if bad:
        samples = splits.only(samples, rows)
        split = _split(asked, samples)
    return samples, pixels, rows, split


def _split(asked: Run, samples: Samples) -> Split:
    split = splits.split(asked.dataset, samples, asked.seed)
    return splits.low_data(samples, split, asked.seed, asked.shots, asked.fraction)
