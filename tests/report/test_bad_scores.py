"""Scores that a comparison can do little with: seeds that are the same run, networks without a mistake, no numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import build, fabricate, page_text

from common.report.predictions import load_predictions
from common.report.significance import paired_tests


def test_seeds_of_the_same_run_count_once(tmp_path: Path) -> None:
    for backbone, seed in (("resnet50", 0), ("resnet50", 1), ("swin_t", 0), ("swin_t", 1)):
        fabricate(tmp_path / "runs" / f"{backbone}{seed}", "dtd", backbone, seed, 0.8)
    first = build(tmp_path / "runs")[0].datasets[0]
    assert paired_tests(first, load_predictions(first)).seeds == 2
    shutil.copy(*(tmp_path / "runs" / f"swin_t{seed}" / "test_logits.npy" for seed in (0, 1)))
    (dataset,) = build(tmp_path / "runs")[0].datasets
    predictions = load_predictions(dataset)
    assert predictions.repeated == ("swin_t",) and len(predictions.correct["swin_t"]) == 1
    assert paired_tests(dataset, predictions).seeds == 1
    assert "Seeds with the same predictions are the same run and count once here: swin_t." in page_text(
        tmp_path / "runs"
    )


def test_networks_without_a_mistake(tmp_path: Path) -> None:
    for backbone in ("resnet50", "swin_t"):
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, 1.0)
    (dataset,) = build(tmp_path / "runs")[0].datasets
    tests = paired_tests(dataset, load_predictions(dataset))
    assert dataset.cells["swin_t"].value == 1 and tests.standing.p_best == pytest.approx(0.5, abs=0.02)
    assert 0.001 < tests.standing.regret < 0.02 and np.isfinite(tests.comparisons[0].p)
    assert "best of 2 with probability 0.5" in page_text(tmp_path / "runs")


def test_scores_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    for backbone in ("resnet50", "swin_t", "convnext_tiny"):
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, 0.8)
    logits = tmp_path / "runs" / "resnet50" / "test_logits.npy"
    np.save(logits, np.where(np.arange(3) == 1, np.nan, np.load(logits)))
    file = tmp_path / "runs" / "swin_t" / "result.json"
    result = json.loads(file.read_text())
    result["test"]["top1"]["value"] = float("nan")
    file.write_text(json.dumps(result))
    text = page_text(tmp_path / "runs")
    assert "predictions are missing: resnet50" in text and "its top1 is nan, not a finite number" in text
