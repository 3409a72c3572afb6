"""A head that starts as a probe, and batch norm that keeps its pretrained statistics."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mistakes import mistake
from safetensors.torch import load_file, save_file

import folder
from common import main
from common.models.build import create_model, get_backbone
from common.report.runs import parse_result
from common.run import head_start
from common.run.recorded_recipe import describe_recipe

TINY = ("-model", "timm:test_resnet", "--image_size", "32", "-bs", "8")


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """Weights whose batch norm has seen images."""
    torch.manual_seed(0)
    net = create_model(get_backbone("timm:test_resnet"), 1000, None).train()
    with torch.no_grad():
        for _ in range(30):
            net(torch.randn(16, 3, 32, 32))
    save_file(net.state_dict(), tmp_path / "pretrained.safetensors")
    return tmp_path / "pretrained.safetensors"


@pytest.fixture
def train(
    class_tree: Callable[..., Path], pretrained: Path, tmp_path: Path, quick_intervals: None
) -> Callable[..., tuple[dict, dict]]:
    data = class_tree(n=20)

    def run(*options: str) -> tuple[dict, dict]:
        """The result and the weights of a short run."""
        out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        main(
            folder.DATASET, [*TINY, "--data_dir", str(data), "--weights", str(pretrained), "--out", str(out), *options]
        )
        return json.loads((out / "result.json").read_text()), load_file(out / "best.safetensors")

    return run


def test_a_probed_head_is_better_than_a_random_one_from_the_start(train) -> None:
    hold = ("--steps", "1", "--lr", "1e-9", "--batch_norm", "pretrained")
    random, _ = train(*hold, "--head_start", "random")
    probed, _ = train(*hold, "--head_start", "probe")
    probe, _ = train("--protocol", "probe")
    assert (random["recipe"]["head_start"], probed["recipe"]["head_start"]) == ("random", "probe")
    assert probed["best"]["val_nll"] < 0.7 * random["best"]["val_nll"]
    assert probed["test"]["top1"]["value"] == pytest.approx(probe["test"]["top1"]["value"], abs=0.2)


def test_the_head_starts_soft(train, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the calibrated logits: the same predictions."""
    hold = ("--steps", "1", "--lr", "1e-12")
    soft, weights = train(*hold)
    monkeypatch.setattr(head_start, "SOFTENING", 1)
    calibrated, others = train(*hold)
    assert torch.allclose(10 * weights["fc.weight"], others["fc.weight"], rtol=1e-3)
    assert soft["test"]["top1"]["value"] == calibrated["test"]["top1"]["value"]


@pytest.mark.parametrize(("lr", "step"), [("1e-12", 1), ("0.1", 0)])
def test_a_run_that_is_no_better_than_the_probe_says_so(lr: str, step: int, train, capsys) -> None:
    """Trained for nothing, and ruined by its first step."""
    result, _ = train("--steps", "1", "--lr", lr)
    line = capsys.readouterr().out
    assert (result["best"]["step"], result["probe"]["step"]) == (step, 0)
    assert result["best"]["val_top1"] == result["probe"]["val_top1"]
    assert ("fine-tuned: " if step else "frozen, linear probe: ") in line
    reason = "where the frozen network's probe is as good" if step else "which training did not improve on"
    assert f"images, {reason}: --protocol probe does without training;" in line


def test_too_few_images_are_not_fine_tuned(train, class_tree, pretrained: Path, tmp_path: Path, capsys) -> None:
    """Two classes with three images each; interrupted and resumed, too; options fine-tune nevertheless."""
    tiny = ("--data_dir", str(class_tree(("ant", "bee"), 3, "few")))
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("common.training.finetune.finetune", _break)
        train(*tiny)
    main(folder.DATASET, ["--resume", str(tmp_path / "run0")])
    capsys.readouterr()
    result, weights = train(*tiny)
    out, err = capsys.readouterr()
    note = "2 training and 2 validation images of 2 classes are too few to fine-tune: the frozen network's probe is the result"
    assert (
        note in err
        and "epochs apart" not in err
        and "not searched" not in err
        and any(note in c for c in result["caveats"])
    )
    assert "epoch   0: the frozen network's linear probe, validation AUROC" in err and "epoch   1" not in err
    assert "frozen, linear probe: AUROC" in out and "; too few images to fine-tune; " in out and "img/s" not in out
    assert (result["last"]["step"], result["cost"]["train_images_per_second"]) == (0, None)
    assert (describe_recipe(result), parse_result(result, Path()).epochs) == ("not fine-tuned", 0)
    before, resumed = load_file(pretrained), load_file(tmp_path / "run0" / "best.safetensors")
    assert all(torch.equal(values, resumed[name]) for name, values in weights.items())
    assert all(torch.equal(values, before[name]) for name, values in weights.items() if not name.startswith("fc."))
    result, _ = train(*tiny, "--steps", "1")
    assert (
        result["last"]["step"] == 1
        and "2 validation images are too few to tell epochs apart" in capsys.readouterr().err
    )


def test_one_image_per_class_leaves_nothing_to_cross_validate(train) -> None:
    result, _ = train("--shots", "1", "--steps", "1")
    assert (result["recipe"]["head_start"], result["split"]["train"]) == ("probe", 3)


def test_a_probe_of_a_sample_has_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_start, "MAX_IMAGES", 20)
    labels = np.repeat([0, 1, 2], (90, 9, 1))
    drawn = head_start._sample(labels, seed=0)
    assert np.bincount(labels[drawn]).tolist() == [17, 2, 1] and len(set(drawn)) == 20
    assert len(head_start._sample(labels[:20], seed=0)) == 20


def test_the_probe_is_fitted_to_the_features_of_the_very_network(train) -> None:
    """Random weights, which are drawn anew for every network."""
    random, probed = (
        train("--weights", "none", "--steps", "1", "--lr", "1e-9", "--head_start", start)[0]
        for start in ("random", "probe")
    )
    assert probed["best"]["val_nll"] < 0.9 * random["best"]["val_nll"]


def test_a_run_resumed_before_its_first_checkpoint_has_the_probed_head(train, tmp_path: Path, monkeypatch) -> None:
    options = ("--head_start", "probe", "--steps", "2", "--lr", "1e-3")
    _, expected = train(*options)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr("common.training.finetune.finetune", _break)
        train(*options)
    main(folder.DATASET, ["--resume", str(tmp_path / "run1")])
    resumed = load_file(tmp_path / "run1" / "best.safetensors")
    assert all(torch.equal(weights, resumed[name]) for name, weights in expected.items())


def _break(*_: object) -> None:
    raise RuntimeError("broken before the first step")


@pytest.mark.parametrize("kept", [False, True])
def test_pretrained_statistics_are_unchanged_by_training(kept: bool, train, pretrained: Path) -> None:
    options = ("--batch_norm", "pretrained" if kept else "batch", "--head_start", "random")
    result, after = train("--steps", "4", *options)
    before = load_file(pretrained)
    names = [name for name in before if name.endswith(("running_mean", "running_var"))]
    same = [torch.equal(before[name], after[name]) for name in names]
    assert names and (all(same) if kept else not any(same))
    kernel = next(name for name, weights in before.items() if weights.ndim == 4)
    assert not torch.equal(before[kernel], after[kernel]), "the rest is trained"
    assert result["recipe"]["batch_norm"] == ("pretrained" if kept else "batch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--protocol", "scratch", "--head_start", "probe"), "--protocol scratch has a recipe of its own"),
        (("--protocol", "paper", "--batch_norm", "pretrained"), "--protocol paper has a recipe of its own"),
        (("--protocol", "probe", "--batch_norm", "pretrained"), "--protocol probe trains nothing: drop --batch_norm"),
        (("--weights", "none", "--batch_norm", "pretrained"), "random weights have no statistics"),
    ],
)
def test_options_without_meaning(options: tuple[str, ...], message: str, tmp_path: Path, class_tree) -> None:
    assert message in mistake(tmp_path, "folder.py", "--data_dir", class_tree(), *options)
