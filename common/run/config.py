"""A run's settings, as `config.json` and `result.json` record them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..data.dataset import LoadedDataset
from ..data.splits import splits
from ..errors import UserError
from ..models.registry import Backbone
from ..spec import PARTS, Dataset, Recipe, RunConfig
from . import provenance

if TYPE_CHECKING:
    import torch

# may differ in a resumed run: they do not change its results, which are bit-identical on the same machine
# (weights and split are compared by their hashes)
IGNORED = (
    "folder", "weights", "split_file", "caveats", "layout", "missing_images", "orientation", "changed", "command", "commit", "python", "scipy", "pillow", "scikit-learn", "safetensors", "device", "threads",
)  # fmt: skip


def static_config(config: RunConfig, backbone: Backbone, recipe: Recipe, dataset: LoadedDataset) -> dict[str, Any]:
    """The settings that do not need the network."""
    sheet, samples, split = config.dataset, dataset.samples, dataset.split
    n = {part: len(getattr(split, part)) for part in PARTS}
    return {
        "dataset": sheet.name,
        "folder": config.data_dir.resolve().name if sheet.name == "folder" else None,
        "fold": sheet.fold,
        "backbone": backbone.name,
        "weights": backbone.weights if config.weights == "imagenet" else config.weights,
        "protocol": recipe.name,
        "chosen_on": recipe.choose_on,
        "seed": config.seed,
        "batch_size": config.batch_size,
        "micro_bs": config.micro_bs or config.batch_size,
        "recipe": asdict(recipe),
        "steps_per_epoch": steps_per_epoch(config, dataset),
        "augment": asdict(sheet.augment),
        "balanced_sampling": config.balanced_sampling,
        "preprocess": dataset.preprocess.to_dict(),
        "classes": len(dataset.samples.classes),
        "split": {
            "kind": config.split,
            "fingerprint": split.fingerprint,
            "test_fingerprint": splits.test_fingerprint(dataset.samples, split),
            **n,
            "unused": len(dataset.samples) - sum(n.values()),
            "groups": None if samples.groups is None else len(set(samples.groups)),
        },
        "split_file": config.split_file and str(config.split_file),
        "shots": config.shots,
        "fraction": config.fraction,
        "subset": config.subset,
        "skipped_images": dataset.n_unreadable,
        "conflicts": dict(dataset.conflicts),
        "missing_images": len(samples.missing),
        "layout": samples.layout and asdict(samples.layout),
        "caveats": [*sheet.caveats, *split.caveats, *(samples.layout.caveats if samples.layout else ())],
    }


def choose_metric(config: RunConfig, dataset: LoadedDataset) -> str:
    """The metric for model selection and headline; AUROC needs every class in validation and in test."""
    from ..metrics import classification

    labels, n = dataset.samples.labels, len(dataset.samples.classes)
    metric = classification.primary_metric(config.dataset.metric, n)
    evaluated = [part for part in (dataset.split.val, dataset.split.test) if part]
    complete = all(len({labels[i] for i in part}) == n for part in evaluated)
    return metric if complete or metric != "auroc" else "balanced_accuracy"


def steps_per_epoch(config: RunConfig, dataset: LoadedDataset) -> int:
    return max(1, len(dataset.split.train) // config.batch_size)


def model_config(
    config: RunConfig,
    net: "torch.nn.Module",
    size: tuple[int, int],
    weights_sha256: str | None,
    device: "torch.device",
    precision: str,
) -> dict[str, Any]:
    """The settings that need the network, and its software and hardware."""
    from ..metrics import cost

    return {
        "weights_sha256": weights_sha256,
        "parameters": cost.parameters(net),
        "macs": cost.macs(net, size),
        "code": provenance.code_hash(config.dataset.script),
        **provenance.collect(device, precision),
    }


def model_card(backbone: Backbone, dataset: LoadedDataset, sheet: Dataset) -> dict[str, Any]:
    """The header of a run's weights, see `results.write_weights`."""
    return {
        "backbone": backbone.name,
        "classes": list(dataset.samples.classes),
        "native": sheet.native,
        "preprocess": dataset.preprocess.to_dict(),
        "temperature": None,  # not fitted yet
    }


def list_changes(config: RunConfig, old: dict[str, Any], new: dict[str, Any], step: int) -> list[dict[str, Any]]:
    """The changes of earlier sessions, then those of this one, made after `step`: {"step", name: [before, after]}."""
    now = {name: [old[name], new[name]] for name in config.changes if old[name] != new[name]}
    return [*old.get("changed", []), *([{"step": step, **now}] if now else [])]


def determining_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that determine a run's result."""
    return {name: value for name, value in settings.items() if name not in IGNORED}


def check_unchanged(config: RunConfig, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises: UserError: the settings differ from those in the run folder; lists the first ones."""
    folder = config.out
    old, new = (
        flatten({k: v for k, v in determining_settings(each).items() if k not in config.changes}) for each in (old, new)
    )
    different = [
        f"{name} was {old.get(name)}, is {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if old.get("code") != new["code"]:
        raise UserError(
            f"cannot resume {folder}: another version of the code started it (code was {old.get('code')}, is "
            f"{new['code']}). Resume with that version, or start a new run"
        )
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise UserError(
            f"cannot resume {folder} as another run: {'; '.join(different[:3])}{more}. Keep its options, or start a "
            "new run (--weights takes a finished one's best.safetensors)"
        )


def flatten(content: Any, name: str = "") -> dict[str, Any]:
    """{"recipe.phases.0.lr": 0.1, ...}"""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        return {name: content}
    return {k: v for key, value in items for k, v in flatten(value, f"{name}.{key}".lstrip(".")).items()}
