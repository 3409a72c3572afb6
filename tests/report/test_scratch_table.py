"""Protocol `scratch` and its table: the published recipe, scores of the best and the last weights."""

import json
import shutil
from pathlib import Path

import pytest

import cifar10
from common import main
from common.__main__ import main as command
from common.cli.parse import make_config, parse
from common.models.build import get_backbone
from common.spec import RunConfig
from common.training import recipes


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def configure(data: Path, *options: str) -> RunConfig:
    namespace = parse((cifar10.DATASET,), [*options, "--data_dir", str(data)])
    return make_config((cifar10.DATASET,), namespace)


@pytest.mark.parametrize(
    ("model", "batch", "optimizer", "lr", "decay"),
    [("resnet18_cifar", 256, "sgd", 0.1, 5e-4), ("vit_tiny_cifar", 512, "adam", 1e-3, 5e-5)],
)
def test_the_published_recipe(cifar_tree: Path, model, batch, optimizer, lr, decay) -> None:
    run = configure(cifar_tree, "--protocol", "scratch", "-model", model)
    recipe = recipes.from_config(run, get_backbone(model), steps_per_epoch=195)
    (phase,) = recipe.phases
    assert (run.weights, run.batch_size, run.image_size) == ("none", batch, (32, 32))
    assert (run.dataset.augment.shift, run.dataset.augment.flip, run.dataset.augment.crop) == (1 / 8, True, 1)
    assert (phase.steps, recipe.eval_every, recipes.save_every(recipe)) == (64_000, 1_000, 5_000)
    assert (phase.optimizer, phase.lr, phase.weight_decay, phase.floor) == (optimizer, lr, decay, 0.01)
    assert phase.decay_all and not phase.warmup and recipe.label_smoothing == 0 and recipe.test_last


def test_recipe_options(cifar_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "options.toml").write_text('lr = 0.05\noptimizer = "adamw"\neval_every = 7\nsubset = true\n')
    options = "--protocol scratch -model resnet50 -bs 64 --augment none --image_size 64".split()
    more = "--steps 70 --weight_decay 0.1 --config options.toml --lr 0.2".split()
    run = configure(cifar_tree, *options, *more)
    recipe = recipes.from_config(run, get_backbone("resnet50"), steps_per_epoch=10)
    (phase,) = recipe.phases
    assert (phase.steps, phase.optimizer, phase.lr, phase.weight_decay) == (70, "adamw", 0.2, 0.1)
    assert (recipe.eval_every, run.batch_size, run.subset, run.image_size) == (7, 64, True, (64, 64))
    assert run.dataset.augment == recipes.AUGMENTS["none"]


def test_epochs_are_converted_to_steps(cifar_tree: Path) -> None:
    run = configure(cifar_tree, "--epochs", "3")
    assert recipes.from_config(run, get_backbone("resnet50"), steps_per_epoch=10).phases[0].steps == 30


def test_best_and_last_scores_in_the_table(cifar_tree: Path, capsys: pytest.CaptureFixture) -> None:
    for seed in ("0", "1"):
        main(cifar10.DATASET, [
            "--protocol", "scratch", "-model", "shufflenet_g8_cifar", "--data_dir", str(cifar_tree), "--subset", "-bs", "9",
            "--steps", "5", "--eval_every", "2", "--seed", seed, "--out", f"runs/{seed}",
        ])  # fmt: skip
    result = json.loads(Path("runs/0/result.json").read_text())
    assert [result["last"]["step"], result["last"]["epoch"]] == [5, 0.5]
    assert result["best"]["step"] in (2, 4, 5) and 0 <= result["test_last"]["top1"] <= 1
    assert {p.name for p in Path("runs/0").glob("*.safetensors")} == {"best.safetensors", "last.safetensors"}
    line = capsys.readouterr().out.splitlines()[0]
    assert "from scratch" in line and f"step {result['best']['step']} of 5 chosen on 10 validation images" in line

    command(["table", "scratch"])
    printed = capsys.readouterr().out
    (row,) = [line for line in printed.splitlines() if line.startswith("| `")]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:6] == [
        "`shufflenet_g8_cifar`",
        "0.913",
        "0.043",
        "0.50 (10 times too many)",
        "cifar10, 90 images of it",
        "5 x 9",
    ]
    tops = [json.loads(Path(f"runs/{s}/result.json").read_text())["test"]["top1"]["value"] for s in "01"]
    assert cells[6].startswith(f"{50 * sum(tops):.2f} ± ") and cells[6].endswith("(2)") and cells[8] == "92.82"
    assert "No finished run of vgg11_cifar" in printed

    shutil.copytree("runs/1", "runs/2")  # the run of a seed, repeated
    command(["table", "scratch"])
    assert capsys.readouterr().out == printed


def test_no_runs_and_a_damaged_one_are_errors(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for message in ("no finished run from scratch in", f"cannot read {tmp_path / 'result.json'}"):
        with pytest.raises(SystemExit) as stop:
            command(["table", "scratch", str(tmp_path)])
        assert stop.value.code == 2 and message in capsys.readouterr().err
        (tmp_path / "result.json").write_text("{")
