"""Recommendations for folders whose answer is known, and for some without any."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from folders import SMALL, TINY, class_folders, noise, run_recommend, shapes
from mistakes import mistake
from PIL import Image

from common.__main__ import main
from common.errors import UserError
from common.recommend import cost_model, probe, recommend
from common.transfer import features


@pytest.fixture(autouse=True)
def _workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs are not measured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})


def test_imagenet_weights_beat_random_ones(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("shapes", {"disc": 40, "square": 40, "triangle": 40, "cross": 40}, shapes)
    models = ["mobilenet", "efficientnet_lite0", "timm:test_resnet"]
    answer = run_recommend("--data_dir", data, "-model", *models, "--random_missing", "--image_size", "64", "--offline")
    first, *others = answer["backbones"]
    assert (first["backbone"], first["weights"]) == ("efficientnet_lite0", "imagenet")
    assert first["p_best"] > 0.99 and not any(row["tied"] or row["equivalent"] for row in others)
    assert {row["weights"] for row in others} == {"none"}
    assert (answer["images"], answer["held_out"], answer["metric"], answer["folds"]) == (128, 32, "top1", 5)
    printed = capsys.readouterr()
    assert "32 test images held out" in printed.out and "random" in printed.out
    assert "Take efficientnet_lite0: after fine-tuning" in printed.out
    assert "nothing cheaper is within half a point" in printed.out
    assert printed.err.count("probe top-1") == 3 and "(random weights)" in printed.err


def test_noise_ties_all(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("noise", {"a": 40, "b": 40}, noise)
    answer = run_recommend("--data_dir", data, "-model", *TINY, *SMALL)
    assert all(row["tied"] for row in answer["backbones"])
    assert max(row["p_best"] for row in answer["backbones"]) < 0.99
    curve = answer["more_images"]
    assert curve["fractions"][-1] == 1 and curve["scores"][-1] == pytest.approx(answer["backbones"][0]["score"])
    assert 0 <= curve["interval"][0] <= curve["gain"] <= curve["interval"][1]
    printed = capsys.readouterr().out
    assert "The 3 are not distinguishable on 64 images" in printed
    assert "Baselines on 64 images, top-1: largest class 50.0 %, file metadata" in printed
    assert answer["baselines"]["scores"].keys() == {"largest_class", "file_metadata", "border_pixels", "colours"}


def test_out_is_checked_before_the_work(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("noise", {"a": 4, "b": 4}, noise)
    for command in (["recommend", "--data_dir", data], ["bench"], ["check", data]):
        with pytest.raises(SystemExit) as end:
            main([*command, "--out", "nowhere/answer.json"])
        assert end.value.code == 2 and "no folder nowhere for answer.json" in capsys.readouterr().err


def test_a_repeated_command_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = class_folders("noise", {"a": 20, "b": 20}, noise)
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    first = run_recommend(*options)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for module, name in ((features, "forward_features"), (cost_model, "_estimate"), (probe, "_scores")):
        monkeypatch.setattr(module, name, never)
    again = run_recommend(*options)
    assert again["backbones"] == first["backbones"]
    with pytest.raises(AssertionError, match="computed again"):  # another seed, other random weights
        run_recommend(*options, "--seed", "1")
    image = next(Path(data).rglob("*.png"))
    Image.new("RGB", (64, 64), "red").save(image)
    with pytest.raises(AssertionError, match="computed again"):
        run_recommend(*options)


def test_groups_are_found_and_kept_together() -> None:
    """Every group has a colour and a random class: folds that split groups would learn colours instead of classes."""
    colours = np.random.default_rng(3).integers(0, 256, (80, 3))

    def draw(canvas, rng, c: int, i: int) -> None:
        canvas.rectangle((0, 0, 64, 64), tuple(colours[40 * c + i // 4]))

    data = class_folders("groups", {"a": 160, "b": 160}, draw)
    for label in "ab":
        for path in Path(data, label).glob("*.png"):
            i = int(path.stem.split("_")[1])
            path.rename(path.with_name(f"p{label}{i // 4}_{i}.png"))
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    for group_by in ("auto", r"/(p\w\d+)_"):
        answer = run_recommend(*options, "--group_by", group_by)
        assert answer["backbones"][0]["score"] < 0.7
        assert answer["groups"] == 64  # of 80: a fifth is held out, whole
        low, high = answer["backbones"][0]["interval"]
        assert high - low > 0.15  # of 64 groups, not of 256 images


def test_imbalanced_classes_are_ranked_by_balanced_accuracy(capsys: pytest.CaptureFixture) -> None:
    data = class_folders("skewed", {"a": 90, "b": 10}, noise)
    answer = run_recommend("--data_dir", data, "-model", *TINY[:2], *SMALL)
    assert answer["metric"] == "balanced_accuracy" and answer["largest_class"] == 0.9
    assert all(abs(row["score"] - 0.5) < 0.3 for row in answer["backbones"])
    assert "the largest class has 90.0 % of the images" in capsys.readouterr().out


def test_limit_and_shots() -> None:
    data = class_folders("noise", {"a": 50, "b": 50}, noise)
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    limited = run_recommend(*options, "--limit", "20")
    assert limited["images"] == 20 and limited["of"] == 80 and limited["held_out"] == 20
    assert run_recommend(*options, "--shots", "9")["images"] == 2 * (9 + 1)  # validation shrinks along


def test_min_size_raises_the_image_size() -> None:
    data = class_folders("noise", {"a": 6, "b": 6}, noise)
    (row,) = run_recommend("--data_dir", data, "-model", "inception", *SMALL)["backbones"]
    assert row["size"] == [96, 96]


def test_a_dataset_by_name() -> None:
    answer = run_recommend("digits", "-model", *TINY[:2], *SMALL, "--limit", "100")
    assert answer["dataset"] == "digits" and answer["classes"] == 10 and answer["held_out"] == 364


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no data: name a dataset"),
        (["eurosatt"], "did you mean 'eurosat'?"),
        (["--data_dir", "nowhere"], "no data in nowhere (not found)"),
        (["--data_dir", "images", "-model", "resnt50"], "did you mean 'resnet50'?"),
        (["--data_dir", "images", "--budget", "soon"], "'soon' is not a duration: expected 90s, 10m or 2h"),
        (["--data_dir", "images", "--budget", "inf"], "'inf' is not a duration"),
        (["pictures/birds"], "no folder pictures/birds"),
        (["--data_dir", "images", "--tolerance", "1"], "--tolerance ends the race of --budget: add --budget, or drop"),
        (["--data_dir", "images", "-model", "swin_t", "swin_t"], "-model lists swin_t twice"),
        (
            ["--data_dir", "images", "-model", "resnet50", "--finetune", "2", *SMALL],
            "--finetune compares backbones, and resnet50 is the only one",
        ),
        (["--data_dir", "images", "--finetune", "1"], "--finetune 1: expected 2 or more"),
        (["--data_dir", "images", "--limit", "0"], "--limit 0: expected 1 or more"),
        (["--data_dir", "images", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--data_dir", "images", "--out", "images"], "images exists already"),
        (["--data_dir", "images", "--offline", "-model", "swin"], "no backbone's weights are available"),
    ],
)
def test_user_errors(tmp_path: Path, class_tree, options: list[str], message: str) -> None:
    class_tree()
    (tmp_path / "run.py").write_text("import sys\nfrom common.__main__ import main\nmain(sys.argv[1:])\n")
    assert message in mistake(tmp_path, tmp_path / "run.py", "recommend", *options)


def test_group_by_errors(class_tree, capsys: pytest.CaptureFixture) -> None:
    options = ["--data_dir", str(class_tree()), "-model", TINY[0], *SMALL]
    for pattern, message in (
        ("(", "not a valid regular expression"),
        ("x+", "does not match"),
        (r"^\w+", "is one group"),
    ):
        with pytest.raises(SystemExit):
            main(["recommend", *options, "--group_by", pattern])
        assert message in capsys.readouterr().err


def test_one_group_of_test_images_compares_nothing() -> None:
    """Which is known before the first probe."""
    samples, split = SimpleNamespace(groups=["a", "a", "b", "c"]), SimpleNamespace(test=(0, 1))
    with pytest.raises(UserError, match="all of them are of one group: check --group_by"):
        recommend._check_test_groups(SimpleNamespace(samples=samples, split=split))
    recommend._check_test_groups(SimpleNamespace(samples=samples, split=SimpleNamespace(test=(0, 3))))
    recommend._check_test_groups(SimpleNamespace(samples=SimpleNamespace(groups=None), split=split))
