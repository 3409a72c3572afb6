"""The recipe that a result records, in the fields of this version, with a description for tables."""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields
from typing import Any

from ..spec import Phase, Recipe
from ..training import recipes

RATE_SOURCES = {  # `recipe_source` of a result, as in text
    "searched": "rate searched",
    "measured": "rate measured before",
    "taken_over": "rate taken over from a similar network",
    "unmeasured": "rate not measured",
    "options": "rate by hand",
    "untrained": "not fine-tuned",
}
RENAMED = {"within": "tolerance"}  # former names of a recipe's fields


def current_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded recipe with the fields of this version: renamed ones under their new name, new ones with their default."""
    phases = [_defaults(Phase) | phase for phase in recipe["phases"]]
    return {**_defaults(Recipe), **{RENAMED.get(k, k): v for k, v in recipe.items()}, "phases": phases}


def trials(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Those of a recipe search; older versions searched only the learning rate."""
    return result.get("recipe_search") or result.get("lr_search") or ()


def describe_rate(result: Mapping[str, Any]) -> str:
    """Where the learning rate is from, a value of `RATE_SOURCES`; "" in older results, and of probes and other protocols."""
    return RATE_SOURCES.get("searched" if trials(result) else result.get("recipe_source"), "")


def describe_recipe(result: Mapping[str, Any]) -> str:
    """What may differ between two cells of a table: where the rate is from, an older recipe's head or crop, parts added by options."""
    recipe, parts = current_recipe(result["recipe"]), [describe_rate(result)]
    if result["protocol"] == "clean":
        if result["weights"] != "none" and recipe["head_start"] == "random":
            parts.append("random head")
        if (recipe["head_start"], recipe["batch_norm"]) == ("probe", "batch"):
            parts.append("batch statistics")
    return ", ".join(filter(None, [*parts, _crop(result), *_changed_options(recipe)]))


def _crop(result: Mapping[str, Any]) -> str:
    """Of evaluation, if it is not the protocol's."""
    usual = recipes.mean_crop(result["augment"].get("crop", 1)) if result["protocol"] == "clean" else 1
    used = result["preprocess"].get("crop_pct", 1)
    return f"crop_pct {used:g}" * (used != usual)


def _changed_options(recipe: Mapping[str, Any]) -> list[str]:
    """The parts of a recipe that are not those of its protocol."""
    texts = {"layer_decay": "layer decay {:g}", "mixup_alpha": "mixup {:g}", "ema_decay": "EMA {:g}"}
    if recipe["name"] == "clean":
        texts |= {"optimizer": "{}", "weight_decay": "weight decay {:g}", "label_smoothing": "label smoothing {:g}"}
    usual, used = _with_first_phase(asdict(recipes.clean(1, 1, lr=1.0, pretrained=True))), _with_first_phase(recipe)
    return [text.format(used[name]) for name, text in texts.items() if used[name] != usual[name]]


def _with_first_phase(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe, with those of its first phase."""
    return {**recipe, **recipe["phases"][0]} if recipe["phases"] else {**_defaults(Phase), **recipe}


def _defaults(record: type) -> dict[str, Any]:
    return {field.name: field.default for field in fields(record) if field.default is not MISSING}
