"""A run's settings, as `config.json` and `result.json` record them; and whether a run may be resumed."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..data.splits import splits
from ..errors import UserError
from ..models.registry import Backbone
from ..spec import Dataset, Preprocess, Recipe, RunConfig, Samples, Split
from . import provenance

if TYPE_CHECKING:
    import torch

# what may be another when a run goes on: the results are the same, to the last bit on the same machine
# (the weights and the split have fingerprints of their own)
FREE = (
    "folder", "weights", "split_file", "caveats", "layout", "missing_images", "changed", "command", "commit", "python", "scipy", "pillow", "scikit-learn", "safetensors", "device", "threads",
)  # fmt: skip


def static_config(
    config: RunConfig,
    row: Backbone,
    recipe: Recipe,
    preprocess: Preprocess,
    samples: Samples,
    split: Split,
    skipped: int,
) -> dict[str, Any]:
    """All that is known before the network is built."""
    return {
        "dataset": config.dataset.name,
        "folder": config.data_dir.resolve().name if config.dataset.name == "folder" else None,
        "fold": config.dataset.fold,
        "backbone": row.name,
        "weights": row.weights if config.weights == "imagenet" else config.weights,
        "protocol": recipe.name,
        "chosen_on": recipe.choose_on,
        "seed": config.seed,
        "batch_size": config.batch_size,
        "micro_bs": config.micro_bs or config.batch_size,
        "recipe": asdict(recipe),
        "steps_per_epoch": max(1, len(split.train) // config.batch_size),
        "augment": asdict(config.dataset.augment),
        "balanced_sampling": config.balanced_sampling,
        "preprocess": asdict(preprocess),
        "classes": len(samples.classes),
        "split": {
            "kind": config.split,
            "fingerprint": split.fingerprint,
            "test_fingerprint": splits.test_fingerprint(samples, split),
            "train": len(split.train),
            "val": len(split.val),
            "test": len(split.test),
            "unused": len(samples) - len(split.train) - len(split.val) - len(split.test),
        },
        "split_file": config.split_file and str(config.split_file),
        "shots": config.shots,
        "fraction": config.fraction,
        "subset": config.subset,
        "skipped_images": skipped,
        "caveats": [
            *config.dataset.caveats,
            *split.caveats,
            *(samples.layout.caveats if samples.layout else ()),
        ],
        "missing_images": len(samples.missing),
        "layout": samples.layout and asdict(samples.layout),
    }


def choose_metric(dataset: Dataset, samples: Samples, split: Split) -> str:
    """The metric for model selection and headline; AUROC needs every class in validation and in test."""
    from ..metrics import classification

    metric = classification.primary_metric(dataset.metric, len(samples.classes))
    evaluated = [part for part in (split.val, split.test) if part]
    complete = all(len({samples.labels[i] for i in part}) == len(samples.classes) for part in evaluated)
    return metric if complete or metric != "auroc" else "balanced_accuracy"


def model_config(
    config: RunConfig,
    net: "torch.nn.Module",
    preprocess: Preprocess,
    weights_sha256: str | None,
    device: "torch.device",
    precision: str,
) -> dict[str, Any]:
    """All that is known when it is: the network's size, and what computes it."""
    from ..metrics import cost

    return {
        "weights_sha256": weights_sha256,
        "parameters": cost.parameters(net),
        "macs": cost.macs(net, preprocess.size),
        "code": provenance.code_hash(config.dataset.script),
        **provenance.collect(device, precision),
    }


def model_card(row: Backbone, samples: Samples, dataset: Dataset, preprocess: Preprocess) -> dict[str, Any]:
    """What stands in the header of a run's weights, see `results.write_weights`."""
    return {
        "backbone": row.name,
        "classes": list(samples.classes),
        "native": dataset.native,
        "preprocess": asdict(preprocess),
        "temperature": None,  # not fitted yet
    }


def list_changes(
    config: RunConfig, old: dict[str, Any], new: dict[str, Any], step: int
) -> list[dict[str, Any]]:
    """All changes on the way, those of this start after `step` at their end: {"step", name: [before, after]}."""
    now = {name: [old[name], new[name]] for name in config.changes if old[name] != new[name]}
    return [*old.get("changed", []), *([{"step": step, **now}] if now else [])]


def determining_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Of a run's settings those that its result depends on."""
    return {name: value for name, value in settings.items() if name not in FREE}


def check_unchanged(config: RunConfig, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Raises: UserError: the run in the folder is another than the one that shall go on; names what differs."""
    folder = config.out
    old, new = (
        _flat({k: v for k, v in determining_settings(of).items() if k not in config.changes})
        for of in (old, new)
    )
    other = [
        f"{name} was {old.get(name)}, is {new.get(name)}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if other:
        more = f" and {len(other) - 3} more" if len(other) > 3 else ""
        raise UserError(
            f"cannot resume {folder} as another run: {'; '.join(other[:3])}{more}. Keep its options, or start a new run "
            "(--weights takes a finished one's best.safetensors)"
        )


def _flat(content: Any, name: str = "") -> dict[str, Any]:
    """{"recipe.phases.0.lr": 0.1, ...}"""
    if isinstance(content, dict):
        items = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        return {name: content}
    return {k: v for key, value in items for k, v in _flat(value, f"{name}.{key}".lstrip(".")).items()}
