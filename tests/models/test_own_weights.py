"""`-model NAME=FILE` in scripts, `recommend` and `sweep`: a candidate like any other, under its own name."""

import json
from pathlib import Path

import pytest
import torch
from mistakes import mistake

import folder
from common import main
from common.__main__ import main as command
from common.models.build import create_model, get_backbone
from common.models.names import slug

SMALL = ["--image_size", "32"]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_tree) -> list[str]:
    """Two checkpoints of one architecture with the same file name, as models; the images in images/."""
    monkeypatch.chdir(tmp_path)
    class_tree()
    backbone = get_backbone("timm:test_resnet")
    for seed, name in enumerate(("first", "second")):
        torch.manual_seed(seed)
        Path(name).mkdir()
        state = {f"model.{n}": t for n, t in create_model(backbone, 7, None).state_dict().items()}
        torch.save({"state_dict": state}, Path(name) / "best.pth")
    return [f"timm:test_resnet={name}/best.pth" for name in ("first", "second")]


def test_a_run_its_predictions_and_its_export(files: list[str], capsys: pytest.CaptureFixture) -> None:
    options = ["-model", files[1], *SMALL, "--data_dir", "images", "-bs", "8", "--epochs", "1", "--out", "run"]
    main(folder.DATASET, options)
    shown = capsys.readouterr()
    assert "second/best.pth: its head (7 classes) is not used, a new one is trained" in shown.err
    result = json.loads(Path("run/result.json").read_text())
    assert (result["backbone"], result["weights"]) == (files[1], "file:second/best.pth")
    Path("second/best.pth").unlink()  # the run needs it no longer
    command(["predict", "run", "images"])
    command(["export", "run", "--format", "torchscript"])
    assert "largest logit difference" in capsys.readouterr().out


def test_recommend_compares_them(files: list[str]) -> None:
    options = [
        "--data_dir",
        "images",
        "-model",
        *files,
        "timm:test_resnet",
        *SMALL,
        "--device",
        "cpu",
        "--precision",
        "fp32",
    ]
    command(["recommend", *options, "--random_missing", "--offline", "--out", "answer.json"])
    answer = json.loads(Path("answer.json").read_text())
    rows = {row["backbone"]: row for row in answer["backbones"]}
    assert rows.keys() == {*files, "timm:test_resnet"}
    assert [rows[name]["weights"] for name in files] == ["imagenet", "imagenet"]
    assert rows[files[0]]["pretrained_on"] == "best.pth" and rows["timm:test_resnet"]["weights"] == "none"


def test_a_sweep_plans_a_run_for_each(files: list[str], capsys: pytest.CaptureFixture) -> None:
    Path("data").mkdir()
    Path("images").rename("data/folder")
    command(["sweep", "--datasets", "folder", "--models", *files, "--data", "data", "--out", "runs", *SMALL, "--plan"])
    shown = capsys.readouterr().out
    assert shown.count("first_best_pth-s0-") == shown.count("second_best_pth-s0-") == 1


def test_the_report_distinguishes_them(files: list[str]) -> None:
    for i, model in enumerate(files):
        options = ["-model", model, *SMALL, "--data_dir", "images", "-bs", "8", "--steps", "1", "--out", f"runs/{i}"]
        main(folder.DATASET, options)
    hashes = {json.loads(Path(f"runs/{i}/result.json").read_text())["weights_sha256"] for i in range(2)}
    assert len(hashes) == 2
    command(["report", "runs", "--out", "report.html"])
    page = Path("report.html").read_text()
    assert all(name in page for name in files)


@pytest.mark.parametrize(("options", "expected"), [
    (["-model", "convnext_tiny=none.pth"], "-model convnext_tiny=FILE: no weights file 'none.pth'"),
    (["-model", "convnext_tinny=first/best.pth"], "did you mean 'convnext_tiny'?"),
    (["-model", "convnext_tiny=first/best.pth", "--weights", "none"], "names its weights: it cannot start from --weights none"),
    (["-model", "convnext_tiny=first/best.pth", "--protocol", "scratch"], "it cannot start from --weights none"),
])  # fmt: skip
def test_mistakes(files: list[str], tmp_path: Path, options: list[str], expected: str) -> None:
    assert expected in mistake(tmp_path, "folder.py", "--data_dir", "images", *options)


def test_slug() -> None:
    assert slug("timm:test_resnet=a b/c.pth") == "timm_test_resnet=a_b_c.pth"
    assert slug("timm:resnet50.a1_in1k") == "timm_resnet50.a1_in1k"
