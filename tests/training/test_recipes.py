"""The recipes of the protocols: the published settings, read from the code of their authors."""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
from conftest import ROOT

import eurosat
import flowers102
import folder
import ucmerced
from common import Augment
from common.cli import catalog
from common.cli.parse import make_config, parse
from common.models.build import get_backbone
from common.spec import Published, Recipe
from common.training import recipes, search_budget


def test_settings_of_the_published_code() -> None:
    """paper: size, augmentation, rate, patience, read from github.com/pranavphoenix/Backbones at 6e73e17."""
    published = {sheet.name: sheet.published for sheet in catalog.datasets() if sheet.published}
    trivial = {name for name, settings in published.items() if settings.trivial}
    assert trivial == {"cifar10", "cifar100", "flowers102", "food101", "dtd"}
    sizes = {name: s.image_size for name, s in published.items() if s.image_size != (256, 256)}
    assert sizes == {"eurosat": (224, 224)} | {f"breakhis-{m}x": (448, 672) for m in (40, 100, 200, 400)}
    patience = {name: s.patience for name, s in published.items() if s.patience != (10, 10)}
    assert patience == {"flowers102": (20, 20), "food101": (10, 20), "galaxy10": (10, 20)}
    assert {name: s.lr for name, s in published.items() if s.lr != 1e-3} == {"galaxy10": 1e-4}
    without = {sheet.script for sheet in catalog.datasets()} - {name.partition("-")[0] for name in published}
    assert without == {"digits", "folder", "rsna_pneumonia", "stanford_cars", "stanford_dogs", "tinyimagenet"}
    assert recipes.published(folder.DATASET) == Published()


def test_the_papers_recipe(flowers_tree: Path) -> None:
    options = ["--protocol", "paper", "-model", "swin_t", "--weights", "none", "--data_dir", str(flowers_tree)]
    sheets = (flowers102.DATASET,)
    config = make_config(sheets, parse(sheets, options))
    assert (config.split, config.image_size, config.batch_size) == ("paper", (256, 256), 32)
    assert config.dataset.augment == Augment(trivial=True)
    recipe = recipes.from_config(config, get_backbone("swin_t"), steps_per_epoch=7)
    first, second = recipe.phases
    assert (first.optimizer, first.lr, first.weight_decay, first.patience) == ("adamw", 1e-3, 0.01, 20)
    assert first.decay_all, "their code has no parameter groups"
    assert (second.optimizer, second.lr, second.weight_decay, second.patience) == ("sgd", 1e-3, 0, 20)
    assert {first.schedule, second.schedule} == {"constant"} and recipe.label_smoothing == 0
    assert (recipe.choose_on, recipe.eval_every, recipe.test_last) == ("test", 7, True)


def from_options(images: Path, model: str, *options: str) -> tuple[Recipe, str]:
    """The recipe, and where its rate is from."""
    sheets, argv = (folder.DATASET,), ["-model", model, "--data_dir", str(images), "--out", "out", *options]
    config, backbone = make_config(sheets, parse(sheets, argv)), get_backbone(model)
    return recipes.from_config(config, backbone, 20), recipes.source(config, backbone)


def test_dihedral_is_the_augmentation_of_the_aerial_data_sheets(class_tree) -> None:
    sheets = (folder.DATASET,)
    config = make_config(sheets, parse(sheets, ["--data_dir", str(class_tree()), "--augment", "dihedral"]))
    assert config.dataset.augment == eurosat.DATASET.augment == ucmerced.DATASET.augment


def test_one_network_under_two_names_has_one_recipe(class_tree) -> None:
    images = class_tree()
    for row, timms, source in (
        ("efficientnet_lite0", "tf_efficientnet_lite0", "measured"),
        ("efficientnet_lite2", "tf_efficientnet_lite2.in1k", "taken_over"),
    ):
        assert from_options(images, row) == from_options(images, f"timm:{timms}")
        assert from_options(images, row)[1] == source
    assert from_options(images, "convnext_tiny")[1] == "unmeasured"


@pytest.mark.parametrize("options", ["--optimizer sgd", "--head_start random", "--batch_norm batch", "--weights none"])
def test_a_rate_is_measured_for_the_default_recipe(options: str, class_tree) -> None:
    assert from_options(class_tree(), "efficientnet_lite0", *options.split())[1] == "unmeasured"


def test_measured_rates_have_their_evidence() -> None:
    """The best of those compared, in the mean of the datasets."""
    scores: dict[str, dict[str, dict[float, float]]] = defaultdict(lambda: defaultdict(dict))
    for line in (ROOT / "benchmarks/results/recipes.jsonl").read_text().splitlines():
        run = json.loads(line)
        how = dict(run["config"])
        lr = how.pop("lr", None)
        if how == {"head": "probe", "bn": "pretrained", "steps": 300} and run["seed"] == 0:
            scores[get_backbone(run["network"]).arch.partition(".")[0]][run["data"]][lr] = run["val_top1"]
    for name, found in recipes.MEASURED_LRS.items():
        datasets = [rates for rates in scores[name].values() if rates.keys() >= {*found.compared}]
        if found.network:
            assert not datasets and scores[name], name
            continue
        means = {lr: mean(rates[lr] for rates in datasets) for lr in found.compared}
        assert len(datasets) == found.datasets and max(means, key=means.get) == found.lr, name


@pytest.mark.parametrize(
    ("options", "crop_pct"),
    [
        ("", 0.875),
        ("--weights none", 0.875),
        ("--augment dihedral", 0.925),
        *((options, None) for options in ("--augment none", "--protocol probe", "--protocol paper", "--protocol scratch", "--crop_pct 1")),
        ("--augment none --crop_pct 0.9", 0.9),
    ],
)  # fmt: skip
def test_evaluation_crops_where_training_does(options: str, crop_pct: float | None, class_tree) -> None:
    sheets = (folder.DATASET,)
    config = make_config(sheets, parse(sheets, ["--data_dir", str(class_tree()), *options.split()]))
    assert recipes.crop_pct(config) == crop_pct


@pytest.mark.parametrize(
    ("options", "n_train", "n_val", "trained"),
    [
        ("", 14, 9, False),
        ("", 15, 9, True),  # five images of each class
        ("", 14, 10, True),
        *((options, 14, 9, True) for options in ("--steps 500", "--epochs 1", "--lr 1e-3", "--lr auto")),
        *((options, 14, 9, True) for options in ("--weights none", "--head_start random", "--protocol paper")),
    ],
)
def test_too_few_images_are_not_fine_tuned(options: str, n_train: int, n_val: int, trained: bool, class_tree) -> None:
    sheets = (folder.DATASET,)
    config = make_config(
        sheets, parse(sheets, ["--data_dir", str(class_tree()), "-model", "resnet50", *options.split()])
    )
    recipe = recipes.from_config(config, get_backbone("resnet50"), 20)
    used = recipes.for_split(recipe, config, classes=3, n_train=n_train, n_val=n_val)
    assert used == recipe if trained else used.steps == 0


def test_options_change_parts_of_the_recipe(class_tree) -> None:
    options = (
        "--layer_decay 0.8 --label_smoothing 0 --mixup_alpha 0.2 --ema_decay 0.99 --head_start random --eval_every 7"
    )
    recipe, _ = from_options(class_tree(), "resnet50", *options.split())
    assert (recipe.label_smoothing, recipe.mixup_alpha, recipe.ema_decay) == (0, 0.2, 0.99)
    assert (recipe.head_start, recipe.eval_every, recipe.phases[0].layer_decay) == ("random", 7, 0.8)
    assert recipe.batch_norm == "pretrained" and recipe.phases[0].weight_decay == 0.05, "the others are the default's"


@pytest.mark.parametrize(
    ("head_start", "steps", "n_val", "reason"),
    [
        ("random", 500, 100, "the head starts at random"),
        ("probe", 500, 9, "only 9 validation images"),
        ("probe", 100, 100, "the run is too short"),
        ("probe", 500, 100, ""),
    ],
)
def test_what_is_not_searched_says_why(head_start: str, steps: int, n_val: int, reason: str) -> None:
    recipe = replace(recipes.clean(1, steps, 1e-3, pretrained=True), head_start=head_start)
    assert search_budget.why_impossible(recipe, n_val, batch_size=32) == reason
