"""One run from start to finish: the only place where all parts meet.

Whatever can be wrong with the data is found before torch is loaded and before anything is written.
"""

import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from . import results
from .data import splits
from .data.decode import decode, refuse
from .models import backbones, weights
from .spec import Preprocess, Run, Samples

if TYPE_CHECKING:
    import numpy as np


def run(asked: Run) -> dict[str, Any]:
    """Fine-tune, choose the epoch on validation, look at test once; returns what `result.json` holds."""
    started = time.perf_counter()
    dataset, row = asked.dataset, backbones.find(asked.model)
    preprocess = row.preprocess(asked.image_size)
    samples, pixels, skipped = _read(asked, preprocess)
    split = splits.split(dataset, samples, asked.seed)

    import numpy as np
    import torch

    from . import pictures
    from .data.loaders import Batches
    from .measure import cost, metrics, stats
    from .training import recipes
    from .training.device import accelerator as choose_device
    from .training.device import out_of_memory
    from .training.evaluate import evaluate
    from .training.finetune import finetune

    accelerator = choose_device(asked.device, asked.precision, row.cpu_bf16)
    torch.manual_seed(asked.seed)
    net = backbones.build(row, len(samples.classes), weights.read(row, asked.weights, asked.offline))
    net.to(accelerator.device, memory_format=torch.channels_last)
    macs = cost.macs(net, preprocess.size)
    labels = np.asarray(samples.labels)
    train, val, test = (
        Batches(
            pixels=pixels[list(part)],
            labels=labels[list(part)],
            preprocess=preprocess,
            batch_size=asked.batch_size,
            device=accelerator.device,
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        for part in (split.train, split.val, split.test)
    )
    recipe = recipes.clean(asked.epochs or recipes.epochs_for(train.steps), asked.lr)

    def choose(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        scores = metrics.score(evaluate(net, val, accelerator), val.labels)
        return scores[dataset.metric], {f"val_{name}": value for name, value in scores.items()}

    config = {
        "dataset": dataset.name,
        "backbone": row.name,
        "weights": row.weights if asked.weights == "imagenet" else asked.weights,
        "weights_sha256": row.sha256 if asked.weights == "imagenet" else None,
        "protocol": recipe.name,
        "chosen_on": "val",
        "seed": asked.seed,
        "batch_size": asked.batch_size,
        "recipe": asdict(recipe),
        "augment": asdict(dataset.augment),
        "preprocess": asdict(preprocess),
        "classes": len(samples.classes),
        "split": {"fingerprint": split.fingerprint, "train": len(train), "val": len(val), "test": len(test)},
        "subset": asked.subset,
        "skipped_images": skipped,
        "caveats": dataset.caveats,
        **results.provenance(accelerator.device, accelerator.mixed_precision.replace("no", "fp32")),
    }
    writes = accelerator.is_main_process
    records: list[dict] = []
    with results.run_folder(asked.out, config, writes) as log, out_of_memory(asked.batch_size):

        def keep(record: dict) -> None:
            records.append(record)
            log(record)

        with cost.Clock(accelerator.device) as training:
            best = finetune(
                net, row.head, train, dataset.augment, choose, recipe, accelerator, asked.seed, keep
            )
        with cost.Clock(accelerator.device) as testing:
            logits = evaluate(net, test, accelerator)  # the one look at test

    scores = metrics.score(logits, test.labels)
    intervals = stats.bootstrap(metrics.scorer(logits, test.labels), len(test), asked.seed)
    result = {
        **config,
        "metric": dataset.metric,
        "test": {name: {"value": value, "interval": intervals[name]} for name, value in scores.items()},
        "best": best,
        "cost": {
            "parameters": cost.parameters(net),
            "macs": macs,
            "train_images_per_second": statistics.median(r["train_images_per_second"] for r in records),
            "test_images_per_second": len(test) / testing.seconds,
            "peak_memory_bytes": cost.peak_memory(accelerator.device),
            "train_seconds": training.seconds,
            "total_seconds": time.perf_counter() - started,
        },
    }
    if writes:
        about = {
            "dataset": dataset.name,
            "backbone": row.name,
            "classes": samples.classes,
            "preprocess": asdict(preprocess),
            "native": dataset.native,
        }
        confusion = metrics.confusion(logits, test.labels)
        title = f"{dataset.title}, {row.name}"
        pictures.learning_curve(asked.out / "curve.png", records, best["epoch"], title)
        pictures.confusion_matrix(asked.out / "confusion.png", confusion, samples.classes, title)
        names = [samples.names[i] for i in split.test]
        results.write(asked.out, result, net.state_dict(), about, names, test.labels, logits, confusion)
    return result


def _read(asked: Run, preprocess: Preprocess) -> tuple[Samples, "np.ndarray", int]:
    """The samples, their pixels (N, h, w, 3) uint8, and how many unreadable images were left out."""
    dataset = asked.dataset
    samples = dataset.load(asked.data_dir, dataset.classes)
    if asked.subset:
        samples = splits.present_classes(samples)
    else:
        splits.check_counts(dataset, samples)
    pixels, bad = decode(samples.images, preprocess, dataset.native)
    if not asked.skip_bad:
        refuse(bad, samples.images)
    if bad:
        import numpy as np

        samples, pixels = splits.without(samples, bad), np.delete(pixels, list(bad), axis=0)
    return samples, pixels, len(bad)
