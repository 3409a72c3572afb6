"""Runs by the paper's protocol, and of classes out of balance."""

import json
from pathlib import Path

import pytest
from tiny import TINY

import flowers102
import folder
from common import main
from common.spec import Dataset


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals: None) -> None:
    monkeypatch.chdir(tmp_path)


def run(dataset: Dataset, *options: object) -> dict:
    main(dataset, [*TINY, *map(str, options), "--out", "out"])
    return json.loads(Path("out/result.json").read_text())


def test_the_papers_protocol(flowers_tree: Path, capsys: pytest.CaptureFixture) -> None:
    """Selected on test, which every output states; no validation set; the last epoch beside the best."""
    result = run(flowers102.DATASET, "--data_dir", flowers_tree, "--subset", "--protocol", "paper")
    split = result["split"]
    assert [split[part] for part in ("train", "val", "test")] == [20, 0, 15] and split["kind"] == "paper"
    assert result["chosen_on"] == "test" and result["protocol"] == "paper" and result["preprocess"]["squash"]
    assert result["caveats"][0].startswith("Protocol of arXiv 2406.05612: the epoch is chosen on the test set")
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    top1 = [record["test_top1"] for record in log]
    assert len(top1) == 4, "two epochs of each phase"
    assert result["test"]["top1"]["value"] == pytest.approx(max(top1))
    assert result["test_last"]["top1"] == pytest.approx(top1[-1]) and result["temperature"] is None
    printed = capsys.readouterr().out
    assert "the paper's split" in printed and "chosen on 15 test images" in printed


def test_two_classes_lead_with_auroc(class_tree, capsys: pytest.CaptureFixture) -> None:
    images = class_tree(("no", "yes"), n=20)
    result = run(folder.DATASET, "--data_dir", images, "--class_weights", "--balanced_sampling")
    assert result["metric"] == "auroc" and "balanced_accuracy" in result["test"]
    assert result["recipe"]["class_weights"] and result["balanced_sampling"]
    printed = capsys.readouterr().out
    assert "scratch: AUROC " in printed and ", balanced accuracy " in printed
