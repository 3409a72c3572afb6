"""The model card of a hub folder: its README.md, from the files of a run."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..data.images.decode import eval_margins, stored_size
from ..errors import UserError, printable
from ..run.per_class import class_scores
from ..run.predictions import read_predictions
from ..run.recorded_recipe import current_recipe
from ..run.results import format_baselines
from .export import with_one_crop
from .load import TrainedModel

# the metrics of `result.json`: their type on the Hub and their name
HUB_METRICS = {
    "top1": ("accuracy", "Top-1 accuracy (%)"),
    "top5": ("accuracy", "Top-5 accuracy (%)"),
    "macro_f1": ("f1", "Macro F1 (%)"),
    "balanced_accuracy": ("accuracy", "Balanced accuracy (%)"),
    "auroc": ("roc_auc", "AUROC (%)"),
    "nll": ("nll", "NLL"),
    "ece": ("ece", "Calibration error (%)"),
}


def render_card(run_folder: Path, model: TrainedModel, result: dict[str, Any], load: Callable) -> str:
    """Markdown with a metadata header. `load` is the folder's loader, a function of `hub_loaders`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["text"] = _text
    dataset = result.get("folder") or result["dataset"]
    return environment.get_template("hub_card.md.jinja").render(
        header=_header(model, result, load, dataset).to_yaml().rstrip(),
        dataset=dataset,
        result=result,
        backbone=model.backbone.name.partition("=")[0],
        weights=_weights_name(result["weights"]),
        recipe=_recipe_rows(result),
        classes=model.card["classes"],
        preprocess=with_one_crop(model.card),
        enlarged_from=_enlarged_from(model.card),
        temperature=model.card.get("temperature"),
        scores=[_score_row(name, score) for name, score in result["test"].items() if name in HUB_METRICS],
        baselines=format_baselines(result["baselines"], result["metric"]) if "baselines" in result else None,
        per_class=_per_class(run_folder),
        loader=inspect.getsource(load).rstrip(),
        load=load.__name__,
    )


def _enlarged_from(card: dict[str, Any]) -> tuple[int, int] | None:
    """(H, W) of the images whose center evaluation enlarges; None: it crops without resizing."""
    preprocess = card["preprocess"]
    stored = tuple(stored_size(preprocess, card["native"]))
    return stored if any(eval_margins(stored, preprocess)) and stored != stored_size(preprocess, None) else None


def _recipe_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The parts of the recipe, as text; none of a probe."""
    recipe = current_recipe(result["recipe"])
    rows = [
        (
            "optimizer",
            f"{phase['optimizer']}, {phase['steps']:,} steps of {result['batch_size']} images, peak learning rate {phase['lr']:g}, "
            f"{phase['schedule']} schedule, weight decay {phase['weight_decay']:g}, layer decay {phase['layer_decay']:g}",
        )
        for phase in recipe["phases"]
    ]
    parts = {
        "initial head": "linear probe of the frozen features" if recipe["head_start"] == "probe" else "random",
        "batch norm": f"{recipe['batch_norm']} statistics",
        "label smoothing": f"{recipe['label_smoothing']:g}",
        "mixup": f"alpha {recipe['mixup_alpha']:g}" if recipe["mixup_alpha"] else "none",
        "EMA of the weights": f"decay {recipe['ema_decay']:g}" if recipe["ema_decay"] else "none",
    }
    return [*rows, *parts.items()] if rows else []


def _header(model: TrainedModel, result: dict[str, Any], load: Callable, dataset: str) -> ModelCardData:
    backbone = model.backbone
    scores = [
        EvalResult(
            task_type="image-classification",
            dataset_type=result["dataset"],
            dataset_name=printable(dataset),
            dataset_split="test",
            metric_type=HUB_METRICS[name][0],
            metric_name=name,
            metric_value=round(score["value"], 5),
        )
        for name, score in result["test"].items()
        if name in HUB_METRICS
    ]
    return ModelCardData(
        library_name="timm" if load.__name__ == "load_timm" else "pytorch",
        pipeline_tag="image-classification",
        tags=["image-classification", "clash-of-backbones", *["timm"] * (backbone.library == "timm")],
        base_model=backbone.weights.removeprefix("hf:") if backbone.weights.startswith("hf:") else None,
        model_name=f"{backbone.arch} on {printable(dataset)}",
        eval_results=scores,
    )


def _weights_name(weights: str) -> str:
    """Their address, or the name of a file without its folder."""
    return weights if weights.startswith(("https:", "hf:", "pip:")) else Path(weights).name


def _score_row(name: str, score: dict[str, Any]) -> tuple[str, str, str]:
    """(name, value, interval) as text."""
    scale, digits = (1, 3) if name == "nll" else (100, 2)
    value, *interval = (f"{scale * x:.{digits}f}" for x in (score["value"], *(score["interval"] or ())))
    return HUB_METRICS[name][1], value, " to ".join(interval) or "none: too few images of a class"


def _per_class(run_folder: Path) -> list[tuple[str, ...]]:
    """(class, test images, recall, precision, F1, AUROC) of every class, with 95 % intervals.

    Raises:
        UserError: the test predictions are missing.
    """
    predictions = read_predictions(run_folder)
    if predictions is None:
        raise UserError(f"no test predictions in {run_folder}: a model card needs the files of a finished run")
    scores = class_scores(predictions.logits, predictions.labels, predictions.groups)
    return [
        (name, str(row["images"]), *(_format_percent(row[metric]) for metric in ("recall", "precision", "f1", "auroc")))
        for name, row in zip(predictions.classes, scores, strict=True)
    ]


def _format_percent(score: dict[str, Any] | None) -> str:
    if score is None:
        return "no image"
    if score["interval"] is None:
        return f"{100 * score['value']:.1f}"
    low, high = (100 * end for end in score["interval"])
    return f"{100 * score['value']:.1f} [{low:.1f}, {high:.1f}]"


def _text(value: object) -> str:
    """A name from the data as text of a Markdown table."""
    text = printable(str(value)).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|#" else c for c in text)
