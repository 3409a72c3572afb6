"""The comparison of the top backbones, fine-tuned, on the held-out test images."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..data.splits import split_file
from ..errors import disk_errors
from ..files.atomic import atomic_write
from ..models.names import slug
from ..run import results
from ..run.recorded_recipe import describe_rate
from ..spec import RunConfig
from . import finetuning, ranking
from .dataset import ProbeData

SEARCH = ("--lr", "auto")  # the same search for every backbone


def run(
    runs: Sequence[RunConfig], script: Sequence[str], data: ProbeData, log: Callable[[str], None]
) -> dict[str, Any]:
    """Fine-tune every backbone with the data sheet's script, each in its own process, and rank them on test.

    `script`: its path and the arguments that all backbones share. Finished runs are not repeated, interrupted ones are
    resumed.

    Raises:
        UserError: the folder cannot be written to, or a run failed, after its own message.
    """
    models = [(run.model, run.weights, run.image_size) for run in runs]
    folder = finetuning.folder("recommend", runs[0], models, script[1:], data.split.fingerprint, SEARCH)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    split = folder / "split.csv"  # the same test images and groups for all
    if not split.exists():
        with atomic_write(split) as part:
            split_file.write(part, data.samples, data.split)
    folders = []
    for number, config in enumerate(runs, 1):
        folders.append(folder / slug(config.model))
        title = f"{config.model}, {number} of {len(runs)}"
        if (folders[-1] / results.RESULT).exists():
            log(f"{title}: already fine-tuned in {folders[-1]}")
        else:
            log(f"fine-tuning {title}")
            log(finetuning.finetune(config, script, split, folders[-1], *SEARCH))
    finished = [results.read_json(out / results.RESULT) for out in folders]
    names = [result["backbone"] for result in finished]
    images, labels, predicted = finetuning.predictions(folders)
    groups = finetuning.groups_of(data.samples, images)
    standings = ranking.rank(names, predicted, labels, data.metric, runs[0].seed, groups)
    return {
        "metric": data.metric,
        "test_images": len(images),
        "split": str(split),
        "backbones": [asdict(standing) for standing in standings],
        "runs": dict(zip(names, map(str, folders), strict=True)),
        "rates": dict(zip(names, map(describe_rate, finished), strict=True)),
        "latency_ms": {name: _latency(out) for name, out in zip(names, folders, strict=True)},
    }


def _latency(run: Path) -> float | None:
    """Milliseconds of one image by the fastest engine, the median that `bench --serve` measured; None: it has not."""
    return min((row["p50_ms"] for row in results.serving(run)), default=None)
