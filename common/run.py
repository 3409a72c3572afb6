"""One run from start to finish: the only place where all parts meet.

Whatever can be wrong with the data is found before torch is loaded and before anything but the cache is written.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import results
from .atomic import whole
from .data import split_file
from .data.prepare import prepare
from .errors import UserError
from .models import backbones, weights
from .models.table import Backbone
from .spec import Preprocess, Recipe, Run, Samples, Speed, Split

if TYPE_CHECKING:
    import numpy as np
    from accelerate import Accelerator

    from .data.loaders import Batches


def run(asked: Run, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Fine-tune, choose the epoch on validation, look at test once; returns what `result.json` holds.

    `tell` is given the run's configuration at its start and then a record per epoch. Of several processes the first
    alone tells, writes and returns something.
    """
    started = time.perf_counter()
    dataset, row = asked.dataset, backbones.find(asked.model)
    preprocess = row.preprocess(asked.image_size)
    samples, pixels, rows, split = prepare(asked, preprocess)

    import torch

    from .data.loaders import to_device
    from .measure import cost, metrics, stats
    from .training import device, recipes
    from .training.evaluate import evaluate
    from .training.finetune import finetune

    steps = max(1, len(split.train) // asked.batch_size)  # of an epoch
    recipe = recipes.clean(asked.epochs or recipes.epochs_for(steps), asked.lr or row.lr)
    speed = _speed(asked, row, len(samples.classes), recipe.epochs * steps)
    accelerator = device.accelerator(asked.device, speed.precision, row.cpu_bf16, asked.micro_batches)
    first = accelerator.is_main_process
    _check_shares(asked, split, accelerator.num_processes)
    torch.manual_seed(asked.seed)
    state, weights_sha256 = weights.read(row, asked.weights, asked.offline)
    net = backbones.build(row, len(samples.classes), state)
    skipped = len(pixels) - len(samples)
    pixels = to_device(pixels, accelerator.device)
    train, val, test = _parts(asked, samples, pixels, rows, split, preprocess, speed, accelerator)
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
        device.batch_limits(asked.batch_size // asked.micro_batches),
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
        cost.forget_peak(accelerator.device)
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
    _keep(asked.out, f"{dataset.title}, {row.name}", records, result, logits, samples, split)
    return result


def _speed(asked: Run, row: Backbone, classes: int, steps: int) -> Speed:
    """As asked for, or measured for a run of so many steps."""
    if not asked.tune:
        return Speed(precision=asked.precision, compiled=asked.compile)
    from .training import device
    from .training.tune import tune

    where = device.find(asked.device)
    return tune(
        build=partial(backbones.build, row, classes, None),
        name=row.name,
        device=where,
        machine=results.device_name(where),
        precision=asked.precision,
        batch=(asked.batch_size // asked.micro_batches, 3, *asked.image_size),
        steps=steps * asked.micro_batches,
    )


def _check_shares(asked: Run, split: Split, processes: int) -> None:
    """Raises: UserError: a batch, or a part, has no equal piece for every process and forward pass."""
    pieces = processes * asked.micro_batches
    if asked.batch_size % pieces:
        raise UserError(
            f"-bs {asked.batch_size}: expected a multiple of {pieces}, for {processes} processes and --micro_bs"
        )
    for part, least in (("train", pieces), ("val", processes), ("test", processes)):
        if (there := len(getattr(split, part))) < least:
            raise UserError(
                f"{there} images in {part}, {least} needed for {processes} processes and --micro_bs"
            )


def _parts(
    asked: Run,
    samples: Samples,
    pixels: Any,
    rows: list[int],
    split: Split,
    preprocess: Preprocess,
    speed: Speed,
    accelerator: "Accelerator",
) -> list["Batches"]:
    """Train, validation and test, ready to be batched."""
    import numpy as np

    from .data.loaders import Batches

    where, labels = np.asarray(rows), np.asarray(samples.labels)
    return [
        Batches(
            pixels=pixels,
            rows=where[list(part)],
            labels=labels[list(part)],
            preprocess=preprocess,
            batch_size=asked.batch_size,
            device=accelerator.device,
            channels_last=speed.channels_last,
            micro_batches=asked.micro_batches,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        for part in (split.train, split.val, split.test)
    ]


def _keep(
    folder: Path,
    title: str,
    records: list[dict[str, Any]],
    result: dict[str, Any],
    logits: "np.ndarray",
    samples: Samples,
    split: Split,
) -> None:
    """Pictures, predictions and, last, the result."""
    import numpy as np

    from . import pictures
    from .measure import metrics

    labels = np.asarray([samples.labels[i] for i in split.test])
    confusion = metrics.confusion(logits, labels)
    with whole(folder / "curve.png") as part:
        pictures.learning_curve(part, records, result["best"]["epoch"], title)
    with whole(folder / "confusion.png") as part:
        pictures.confusion_matrix(part, confusion, samples.classes, title)
    names = [samples.names[i] for i in split.test]
    results.write_predictions(folder, names, labels, logits, samples.classes)
    results.write_confusion(folder, confusion, samples.classes)
    results.write_json(folder / results.RESULT, result)  # it says that all the rest is there


def _described(
    asked: Run,
    row: Backbone,
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
