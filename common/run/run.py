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

from ..data.dataset import load_dataset, make_loaders
from ..data.splits import split_file
from ..files.atomic import atomic_write
from ..models import build, weights
from ..models.registry import Backbone
from ..spec import RunConfig, Speed
from . import provenance, results
from .config import check_unchanged, choose_metric, list_changes, model_card, model_config, static_config


def run(config: RunConfig, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any] | None:
    """Fine-tune, choose the weights on validation, look at test once; returns what `result.json` holds.

    `tell` is given the run's configuration at its start and then a record per evaluation. Of several processes the
    first alone tells, writes and returns something.

    Raises:
        UserError: what the user can fix.
        Stopped: a signal came; `config` with `resume` goes on.
    """
    started = time.perf_counter()
    dataset, row = config.dataset, build.get_backbone(config.model)
    preprocess = replace(row.preprocess(config.image_size), squash=config.protocol == "paper")
    data = load_dataset(config, preprocess, tell)
    samples, split, preprocess = data.samples, data.split, data.preprocess

    import numpy as np
    import torch

    from ..metrics import calibration, classification, cost
    from ..training import checkpoint, device, heartbeat, recipes
    from ..training.cpu_kernels import move_to
    from ..training.evaluate import evaluate
    from ..training.finetune import finetune
    from ..training.lr_search import best_rate
    from . import artifacts, rates

    epoch = max(1, len(split.train) // config.batch_size)  # steps
    recipe = recipes.from_config(config, row, epoch)
    speed = _speed(config, row, len(samples.classes), recipe.steps)
    accelerator = device.make_accelerator(config.device, speed.precision, row.cpu_bf16, config.micro_batches)
    first = accelerator.is_main_process
    tell = tell if first else (lambda record: None)
    torch.manual_seed(config.seed)
    state, weights_sha256 = weights.load_weights(row, config.weights, config.offline)
    net = build.create_model(row, len(samples.classes), state)
    parts = make_loaders(config, data, speed.channels_last, accelerator)
    train, test = parts["train"], parts["test"]
    judge = parts[recipe.choose_on]  # val; test by the paper's protocol, and every result says so
    alive = heartbeat.keep_alive(config.out)
    metric = choose_metric(dataset, samples, split)

    def choose(net: torch.nn.Module) -> tuple[float, dict[str, float]]:
        logits = evaluate(net, judge, accelerator, alive)
        if not np.isfinite(logits).all():
            return math.nan, {}
        scores = classification.score(logits, judge.labels)
        return scores[metric], {f"{recipe.choose_on}_{name}": value for name, value in scores.items()}

    old = results.read_json(config.out / results.CONFIG) if config.resume else {}
    precision = accelerator.mixed_precision.replace("no", "fp32")
    settings = {
        **static_config(config, row, recipe, preprocess, samples, split, data.n_unreadable),
        **model_config(config, net, preprocess, weights_sha256, accelerator.device, precision),
        "metric": metric,
        "lr_search": old.get("lr_search"),
        "processes": accelerator.num_processes,
        "memory_format": "channels_last" if speed.channels_last else "contiguous",
        "compiled": speed.compiled,
        "changed": [],
    }
    if config.lr == "auto":
        with device.batch_errors(config.batch_size // config.micro_batches):
            known_by = rates.about(config, settings, samples, preprocess)
            tried = old.get("lr_search") or rates.search(
                config, row, len(samples.classes), state, train, choose, recipe, known_by, accelerator, tell
            )
        first_phase, *others = recipe.phases
        recipe = replace(recipe, phases=(replace(first_phase, lr=best_rate(tried)), *others))
        settings |= {"lr_search": tried, "recipe": asdict(recipe)}
    saved = None
    if config.resume:
        check_unchanged(config, old, settings)
        saved = checkpoint.load(config.out, best=config.resume == "best")
        settings["changed"] = list_changes(config, old, settings, saved["progress"]["step"] if saved else 0)

    with (
        results.run_folder(
            config, settings, saved["progress"]["records"] if saved else [], write=first
        ) as log,
        device.batch_errors(config.batch_size // config.micro_batches),
    ):

        def report(record: dict[str, Any]) -> None:
            log(record)
            tell(record)

        if first:
            with atomic_write(config.out / "split.csv") as part:
                split_file.write(part, samples, split)
        tell(settings)
        move_to(net, accelerator.device, train.memory_format)
        if speed.compiled:
            net.compile()
        cost.reset_peak_memory(accelerator.device)
        keeping = checkpoint.CheckpointConfig(
            folder=config.out, every=config.save_every or recipes.save_every(recipe), write=first
        )
        trained = finetune(
            net,
            row.head,
            train,
            dataset.augment,
            choose,
            recipe,
            accelerator,
            config.seed,
            report,
            keeping,
            saved,
            classification.effective_sample_size(metric, judge.labels),
        )
        last = (
            classification.score(evaluate(net, test, accelerator, alive), test.labels)
            if recipe.test_last
            else None
        )
        about = model_card(row, samples, dataset, preprocess)
        if first and recipe.test_last:
            results.write_weights(config.out / results.LAST, net, about)
        net.load_state_dict(trained.weights)
        if recipe.choose_on == "val":
            about["temperature"] = calibration.fit_temperature(
                evaluate(net, judge, accelerator, alive), judge.labels
            )
        if first:
            results.write_weights(config.out / results.BEST, net, about)
        with cost.Timer(accelerator.device) as testing:
            logits = evaluate(net, test, accelerator, alive)  # the one look at test
        if not first:
            return None

        result = {
            **settings,
            "test": artifacts.score_with_intervals(logits, test.labels, config.seed),
            "test_last": last,
            "temperature": about["temperature"],  # of validation
            "test_calibrated": artifacts.calibrated_scores(
                logits, test.labels, about["temperature"], config.seed
            ),
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
        artifacts.write(config.out, title, trained.records, result, logits, samples, split, test.picture)
        checkpoint.remove(config.out)
        heartbeat.remove(config.out)
        return result


def _speed(config: RunConfig, row: Backbone, classes: int, steps: int) -> Speed:
    """As asked for, or measured for a run of so many steps."""
    if not config.tune:
        return Speed(precision=config.precision, compiled=config.compile)
    from ..training import device
    from ..training.autotune import tune

    where = device.find(config.device)
    return tune(
        build=partial(build.create_model, row, classes, None),
        name=row.name,
        device=where,
        machine=provenance.device_name(where),
        precision=config.precision,
        batch=(config.batch_size // config.micro_batches, 3, *config.image_size),
        steps=steps * config.micro_batches,
    )
