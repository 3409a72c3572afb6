"""Reading run folders: states, pretraining data, epochs."""

import json
from pathlib import Path

import pytest
from fabricated_runs import WEIGHTS, build, fabricate, fabricate_grid, page_text

from common.report.runs import pretraining


def test_pretraining_data_of_weights() -> None:
    assert pretraining("resnet50", WEIGHTS["resnet50"]) == "ImageNet-1k"
    assert pretraining("resnet50", "none") == pretraining("timm:vit_small_patch16_224", "none") == "from scratch"
    timm = {
        "a1_in1k": "ImageNet-1k",
        "augreg_in21k_ft_in1k": "timm's augreg_in21k_ft_in1k",
        "ns_jft_in1k": "timm's ns_jft_in1k",
    }
    assert {tag: pretraining("timm:x", f"hf:timm/x.{tag}") for tag in timm} == timm
    assert pretraining("timm:x", "my.safetensors") == "weights my.safetensors"


def test_epochs_trained(tmp_path: Path) -> None:
    """The paper's protocol allows 2,000 and stops early."""
    result = fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    per_epoch = result["steps_per_epoch"]
    long = {**result["recipe"], "phases": [{**result["recipe"]["phases"][0], "steps": 2000 * per_epoch}]}
    fabricate(tmp_path / "runs" / "b", "dtd", "swin_t", 0, 0.9, recipe=long, last={"step": 7 * per_epoch, "epoch": 7})
    (dataset,) = build(tmp_path / "runs")[0].datasets
    assert [cell.runs[0].epochs for cell in dataset.cells.values()] == [2, 7]


def test_unfinished_and_unreadable_folders_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = fabricate_grid(tmp_path)
    odd = json.loads((runs / "dtd-swin_t-0" / "result.json").read_text()) | {"metric": "beauty"}
    for name, content in (
        ("broken", "{"), ("other", '{"accuracy": 1}'), ("list", "[]"), ("odd", json.dumps(odd)), ("half", None),
    ):  # fmt: skip
        (runs / name).mkdir()
        (runs / name / ("options.yaml" if content is None else "result.json")).write_text(content or "{}")
    (runs / "hub").mkdir()
    (runs / "hub" / "config.json").write_text("{}")  # of `export --format hub`, not of a run
    html_text = page_text(runs)
    assert capsys.readouterr().out.startswith("22 runs, 1 unfinished, 4 unreadable -> ")
    assert f"{runs / 'half'}: not finished" in html_text and f"{runs / 'other'}: unreadable" in html_text
