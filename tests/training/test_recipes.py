"""The recipes of the protocols: the published settings, read from the code of their authors."""

from pathlib import Path

import flowers102
import folder
from common import Augment
from common.cli import catalog
from common.cli.parse import make_config, parse
from common.models.build import get_backbone
from common.spec import Published
from common.training import recipes


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
