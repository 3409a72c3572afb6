"""The files of a run folder. Each is written atomically; `result.json` is the last one."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files.atomic import atomic_write
from ..spec import Preprocess

if TYPE_CHECKING:
    import torch

BEST, LAST = "best.safetensors", "last.safetensors"
CONFIG, OPTIONS, RESULT = "config.json", "options.yaml", "result.json"
CONTACT_SHEET = "contact_sheet.jpg"
MISTAKES = "mistakes.jpg"
SERVE = "serve.json"
ENGINE = ("engine", "threads", "p50_ms", "p95_ms", "images_per_second", "file_bytes")
METRICS = {  # as in text
    "top1": "top-1",
    "top5": "top-5",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
    "auroc": "AUROC",
    "nll": "NLL",
    "ece": "ECE",
}
PART_NAMES = {"train": "training", "val": "validation", "test": "test"}


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises: UserError: the file is missing or not JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error})") from None


def run_seconds(result: Mapping[str, Any]) -> float:
    """Seconds that a run took; of a resumed one `train_seconds` covers all processes and `total_seconds` the last, so at least these."""
    return max(result["cost"]["total_seconds"], result["cost"]["train_seconds"])


def serving(run: Path) -> list[dict[str, Any]]:
    """What `bench --serve` measured of a run, a row per engine: `ENGINE`, "machine" and, for int8, "difference" of top-1.

    No rows if it did not measure the run, or its file is damaged.
    """
    try:
        content = json.loads((run / SERVE).read_bytes())
        compared, machine = content["int8"], str(content["device"])
        difference = compared and {"value": compared["difference"], "interval": tuple(compared["interval"])}
        return [
            {
                **{key: engine[key] for key in ENGINE},
                "machine": machine,
                "difference": difference if "int8" in engine["engine"] else None,
            }
            for engine in content["engines"]
        ]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def write_weights(path: Path, net: "torch.nn.Module", card: dict[str, Any], trained_on: str = "") -> None:
    """Write a safetensors file: the weights and, as JSON in its header, everything else that predictions need.

    Args:
        card: "backbone", "classes", "preprocess", "native" (pixels that all images share) and "temperature".
        trained_on: see `trained_on.sketch`.
    """
    from safetensors.torch import save_file

    with atomic_write(path) as part:
        state = {key: value.cpu().contiguous() for key, value in net.state_dict().items()}
        about = json.dumps(card | {"trained_on": trained_on})  # one entry: safetensors shuffles several
        save_file(state, part, {"about": about})


def read_trained_on(path: Path) -> str:
    """What `write_weights` wrote; "" for weights from elsewhere."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return json.loads((file.metadata() or {})["about"]).get("trained_on", "")
    except (OSError, SafetensorError, LookupError, ValueError):  # loading it reports what is wrong
        return ""


def read_model_card(path: Path) -> dict[str, Any]:
    """The header that `write_weights` wrote.

    Raises:
        UserError: not such a file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            card = json.loads(file.metadata()["about"])
            card.pop("trained_on", None)
        preprocess = {k: tuple(v) if isinstance(v, list) else v for k, v in card["preprocess"].items()}
        card["preprocess"] = Preprocess(**preprocess)
    except (OSError, SafetensorError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"no trained model in {path.parent} ({error}): expected {path.name} of a finished run"
        ) from None
    return card


def format_train_size(shots: int | None, fraction: float | None) -> str:
    """ "10 shots" or "0.1 of train"; "" for all training images."""
    return f"{shots} shots" if shots else f"{fraction} of train" if fraction else ""


def format_baselines(baselines: Mapping[str, Any], metric: str) -> str:
    """`baselines` of a result on one line; balanced accuracy where not all have the metric, as AUROC with few images."""
    scores = baselines["scores"]
    if any(metric not in by_metric for by_metric in scores.values()):
        metric = "balanced_accuracy"
    listed = (f"{name.replace('_', ' ')} {100 * by_metric[metric]:.1f} %" for name, by_metric in scores.items())
    return f"{METRICS[metric]} on {baselines['n_test']:,} test images: {', '.join(listed)}"
