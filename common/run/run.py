"""One training run, from its options to its artifacts."""

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..data.dataset import load_dataset
from ..models.build import get_backbone
from ..spec import RunConfig
from ..training import recipes
from .run_folder import run_folder

if TYPE_CHECKING:
    import numpy as np

    from ..training.finetune import Fitted
    from .evaluation import Evaluation
    from .setup import Setup

Log = Callable[[dict[str, Any]], None]


def run(config: RunConfig, log: Log) -> dict[str, Any] | None:
    """Fine-tune, select the weights on validation, evaluate once on test; returns the content of `result.json`.

    `log` gets the run's settings, then a record per evaluation. Of several processes only the first one logs, writes
    and returns a result.

    Raises:
        UserError: a mistake that the user can fix.
        Stopped: a signal was received; `config` with `resume` continues.
    """
    started = time.perf_counter()
    backbone = get_backbone(config.model)
    preprocess = replace(
        backbone.preprocess(config.image_size), squash=config.protocol == "paper", crop_pct=recipes.crop_pct(config)
    )
    dataset = load_dataset(config, preprocess, log)  # finds all mistakes in the data before torch is imported

    from ..training import checkpoint, heartbeat
    from ..training.device import batch_errors
    from ..training.finetune import finetune
    from . import artifacts, evaluation, trained_on
    from .augment import choose_augment
    from .baselines import log_baselines
    from .divergence import format_divergence
    from .search import search_recipe
    from .setup import build_setup, resume, to_device

    setup = build_setup(config, backbone, dataset)
    log = log if setup.main_process else lambda record: None
    setup = search_recipe(choose_augment(setup, log), log)
    config = setup.config
    if config.resume:
        setup = resume(setup)
    records = setup.saved["progress"]["records"] if setup.saved else []
    with (
        run_folder(config, dataset, setup.settings, records, setup.main_process) as write,
        batch_errors(config.forward_size),
    ):
        log(setup.settings)
        seen = trained_on.seen_in_test(config, backbone, dataset)
        baselines = {}
        if setup.main_process:
            baselines = log_baselines(config, dataset, setup.settings, seen, log)
        to_device(setup)
        fitted = finetune(setup.task, lambda r: (write(r), log(r)), setup.checkpoints, setup.saved)
        tested = evaluation.test(setup, fitted)
        if not setup.main_process:
            return None
        result = {**_result(setup, fitted, tested, seen, started), "baselines": baselines}
        if divergence := format_divergence(tested.logits["test"], setup.loaders["test"].labels):
            result["caveats"] = [*result["caveats"], divergence]
            log({"note": divergence})
        net = None if setup.settings["compiled"] else setup.task.net  # hooks would compile it again
        result = artifacts.write(config, dataset, fitted.records, result, tested.logits, net)
        checkpoint.remove(config.out)
        heartbeat.remove(config.out)
    return result


def _result(
    setup: "Setup", fitted: "Fitted", tested: "Evaluation", seen: "np.ndarray", started: float
) -> dict[str, Any]:
    from ..metrics import cost
    from . import trained_on
    from .disjoint import disjoint_scores, groups_of
    from .evaluation import calibrated_scores, score_with_intervals

    seed, logits = setup.config.seed, tested.logits["test"]
    speeds = [record["train_images_per_second"] for record in fitted.records if record["step"]]
    labels, groups = setup.loaders["test"].labels, groups_of(setup.dataset, "test")
    return {
        **setup.settings,
        "caveats": [*setup.settings["caveats"], *trained_on.seen_caveats(setup.config, seen)],
        "test": score_with_intervals(logits, labels, seed, groups),
        "test_disjoint": disjoint_scores(setup.dataset, logits, seed, seen),
        "test_last": tested.last,
        "temperature": tested.temperature,
        "test_calibrated": calibrated_scores(logits, labels, tested.temperature, seed, groups),
        "probe": fitted.records[0] if setup.task.evaluate_first else None,
        "best": fitted.best,
        "last": fitted.records[-1],
        "resumed_at": fitted.resumed_at,
        "cost": {
            "train_images_per_second": statistics.median(speeds) if speeds else None,
            "test_images_per_second": len(labels) / tested.seconds,
            "peak_memory_bytes": cost.peak_memory(setup.task.accelerator.device),
            "train_seconds": setup.search_seconds + fitted.seconds,
            "joules": fitted.joules,
            "total_seconds": time.perf_counter() - started,
        },
    }
