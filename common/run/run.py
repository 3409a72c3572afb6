"""One run from start to finish: the only place where all parts meet.

Whatever can be wrong with the data is found before torch is loaded and before anything but the cache is written.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from ..data.dataset import batches, prepare
from ..data.splits import split_file
from ..files.atomic import whole
from ..models import build, weights
from ..models.registry import Backbone
from ..spec import Run, Speed
from . import config, provenance, results


def run(asked: Run, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Fine-tune, choose the weights on validation, look at test once; returns what `result.json` holds.

    `tell` is given the run's configuration at its start and then a record per evaluation. Of several processes the
    first alone tells, writes and returns something.

    Raises:
        UserError: what the user can fix.
        Stopped: a signal came; `asked` with `resume` goes on.
    """
    started = time.perf_counter()
    dataset, row = asked.dataset, build.find(asked.model)
    preprocess = replace(row.preprocess(asked.image_size), squash=asked.protocol == "paper")
    samples, pixels, rows, split = prepare(asked, preprocess)

    import numpy as np
    import torch

    from ..data.loader import to_device
    from ..metrics import calibration, classification, cost
    from ..training import checkpoint, device, heartbeat, recipes
    from ..training.cpu_kernels import place
    from ..training.evaluate import evaluate
    from ..training.finetune import finetune
    from ..training.lr_search import winner
    from . import artifacts, rates

    epoch = max(1, len(split.train) // asked.batch_size)  # steps
    recipe = recipes.recipe(asked, row, epoch)
    speed = _speed(asked, row, len(samples.classes), recipe.steps)
    accelerator = device.accelerator(asked.device, speed.precision, row.cpu_bf16, asked.micro_batches)
    first = accelerator.is_main_process
    tell = tell if first else (lambda record: None)
    torch.manual_seed(asked.seed)
    state, weights_sha256 = weights.read(row, asked.weights, asked.offline)
    net = build.build(row, len(samples.classes), state)
    skipped = len(pixels) - len(samples)
    pixels = to_device(pixels, accelerator.device)
    parts = batches(asked, samples, pixels, rows, split, preprocess, speed.channels_last, accelerator)
    train, test = parts["train"], parts["test"]
    judge = parts[recipe.choose_on]  # val; test by the paper's protocol, and every result says so
    alive = heartbeat.touch(asked.out)
    metric = classification.headline(dataset.metric, len(samples.classes))

    def choose(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        logits = evaluate(net, judge, accelerator, alive)
        if not np.isfinite(logits).all():
            return math.nan, {}
        scores = classification.score(logits, judge.labels)
        return scores[metric], {f"{recipe.choose_on}_{name}": value for name, value in scores.items()}

    old = results.read_json(asked.out / results.CONFIG) if asked.resume else {}
    precision = accelerator.mixed_precision.replace("no", "fp32")
    settings = {
        **config.described(asked, row, recipe, preprocess, samples, split, skipped),
        **config.built(asked, net, preprocess, weights_sha256, accelerator.device, precision),
        "metric": metric,
        "lr_search": old.get("lr_search"),
        "processes": accelerator.num_processes,
        "memory_format": "channels_last" if speed.channels_last else "contiguous",
        "compiled": speed.compiled,
        "changed": [],
    }
    if asked.lr == "auto":
        with device.batch_limits(asked.batch_size // asked.micro_batches):
            known_by = rates.about(asked, settings, samples, preprocess)
            tried = old.get("lr_search") or rates.search(
                asked, row, len(samples.classes), state, train, choose, recipe, known_by, accelerator, tell
            )
        first_phase, *others = recipe.phases
        recipe = replace(recipe, phases=(replace(first_phase, lr=winner(tried)), *others))
        settings |= {"lr_search": tried, "recipe": asdict(recipe)}
    saved = None
    if asked.resume:
        config.check_same(asked, old, settings)
        saved = checkpoint.load(asked.out, best=asked.resume == "best")
        settings["changed"] = config.changed(asked, old, settings, saved["progress"]["step"] if saved else 0)

    with (
        results.run_folder(
            asked, settings, saved["progress"]["records"] if saved else [], write=first
        ) as log,
        device.batch_limits(asked.batch_size // asked.micro_batches),
    ):

        def report(record: dict[str, Any]) -> None:
            log(record)
            tell(record)

        if first:
            with whole(asked.out / "split.csv") as part:
                split_file.write(part, samples, split)
        tell(settings)
        place(net, accelerator.device, train.memory_format)
        if speed.compiled:
            net.compile()
        cost.forget_peak(accelerator.device)
        keeping = checkpoint.Keeping(
            folder=asked.out, every=asked.save_every or recipes.save_every(recipe), write=first
        )
        trained = finetune(
            net,
            row.head,
            train,
            dataset.augment,
            choose,
            recipe,
            accelerator,
            asked.seed,
            report,
            keeping,
            saved,
            classification.effective(metric, judge.labels),
        )
        last = (
            classification.score(evaluate(net, test, accelerator, alive), test.labels)
            if recipe.test_last
            else None
        )
        about = config.about(row, samples, dataset, preprocess)
        if first and recipe.test_last:
            results.write_weights(asked.out / results.LAST, net, about)
        net.load_state_dict(trained.weights)
        if recipe.choose_on == "val":
            about["temperature"] = calibration.temperature(
                evaluate(net, judge, accelerator, alive), judge.labels
            )
        if first:
            results.write_weights(asked.out / results.BEST, net, about)
        with cost.Clock(accelerator.device) as testing:
            logits = evaluate(net, test, accelerator, alive)  # the one look at test
        if not first:
            return None

        result = {
            **settings,
            "test": artifacts.scored(logits, test.labels, asked.seed),
            "test_last": last,
            "temperature": about["temperature"],  # of validation
            "test_calibrated": artifacts.calibrated(logits, test.labels, about["temperature"], asked.seed),
            "best": trained.best,
            "last": trained.records[-1],
            "resumed_at": trained.breaks,
            "cost": {
                "train_images_per_second": statistics.median(
                    r["train_images_per_second"] for r in trained.records
                ),
                "test_images_per_second": len(test) / testing.seconds,
                "peak_memory_bytes": cost.peak_memory(accelerator.device),
                "train_seconds": trained.seconds,
                "joules": trained.joules,
                "total_seconds": time.perf_counter() - started,
            },
        }
        title = f"{dataset.title}, {row.name}"
        artifacts.keep(asked.out, title, trained.records, result, logits, samples, split, test.picture)
        checkpoint.forget(asked.out)
        heartbeat.end(asked.out)
        return result


def _speed(asked: Run, row: Backbone, classes: int, steps: int) -> Speed:
    """As asked for, or measured for a run of so many steps."""
    if not asked.tune:
        return Speed(precision=asked.precision, compiled=asked.compile)
    from ..training import device
    from ..training.autotune import tune

    where = device.find(asked.device)
    return tune(
        build=partial(build.build, row, classes, None),
        name=row.name,
        device=where,
        machine=provenance.device_name(where),
        precision=asked.precision,
        batch=(asked.batch_size // asked.micro_batches, 3, *asked.image_size),
        steps=steps * asked.micro_batches,
    )
