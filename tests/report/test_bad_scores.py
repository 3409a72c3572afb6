"""Scores that a comparison can do little with: seeds that are the same run, networks without a mistake, no numbers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import build, fabricate, page_text

from common.report.predictions import load_predictions
from common.report.significance import paired_tests
from common.report.tables import format_score


def test_seeds_of_the_same_run_count_once(tmp_path: Path) -> None:
    """In tables as in tests: one seed with the interval over test images, not two without a spread."""
    for backbone, seed in (("resnet50", 0), ("resnet50", 1), ("swin_t", 0), ("swin_t", 1)):
        run = fabricate(tmp_path / "runs" / f"{backbone}{seed}", "dtd", backbone, seed, 0.8)
    first = build(tmp_path / "runs")[0].datasets[0]
    assert paired_tests(first, load_predictions(first)).seeds == 2
    shutil.rmtree(tmp_path / "runs" / "swin_t0")
    shutil.copytree(tmp_path / "runs" / "swin_t1", tmp_path / "runs" / "swin_t0")
    (tmp_path / "runs" / "swin_t0" / "result.json").write_text(json.dumps(run | {"seed": 0}))
    (dataset,) = build(tmp_path / "runs")[0].datasets
    cell = dataset.cells["swin_t"]
    assert [r.seed for r in cell.runs] == [0] and (cell.excluded, cell.same) == (0, ((1, 0),))
    assert format_score(cell, "top1").endswith("] (1)")
    assert paired_tests(dataset, load_predictions(dataset)).seeds == 1
    assert "dtd: swin_t: seeds 0 and 1 have the same scores: one run" in page_text(tmp_path / "runs")


def test_networks_without_a_mistake(tmp_path: Path) -> None:
    for backbone in ("resnet50", "swin_t"):
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, 1.0)
    (dataset,) = build(tmp_path / "runs")[0].datasets
    tests = paired_tests(dataset, load_predictions(dataset))
    assert dataset.cells["swin_t"].value == 1 and tests.standing.p_best == pytest.approx(0.5, abs=0.02)
    assert 0.001 < tests.standing.regret < 0.02 and np.isfinite(tests.comparisons[0].difference.p)
    assert "best of 2 with probability 0.5" in page_text(tmp_path / "runs")


def test_scores_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    """In logits, in the headline score, and in another one: a network with NaN logits may have a finite accuracy."""
    names = ("resnet50", "swin_t", "convnext_tiny", "swin_v2_t")
    for backbone in names:
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, 0.8)
    logits = tmp_path / "runs" / "resnet50" / "test_logits.npy"
    np.save(logits, np.where(np.arange(3) == 1, np.nan, np.load(logits)))
    for backbone, metric in (("swin_t", "top1"), ("swin_v2_t", "nll")):
        file = tmp_path / "runs" / backbone / "result.json"
        result = json.loads(file.read_text())
        result["test"][metric]["value"] = float("nan")
        file.write_text(json.dumps(result))
    text = page_text(tmp_path / "runs")
    assert "resnet50 (logits that are NaN or infinite)" in text
    assert "its top1 is nan, not a finite number" in text and "its nll is nan, not a finite number" in text


def test_predictions_of_other_images_are_named(tmp_path: Path) -> None:
    for backbone, n in (("resnet50", 120), ("swin_t", 120), ("convnext_tiny", 117)):
        split = {"kind": "clean", "fingerprint": "x", "train": 80, "val": 10, "test": 120}
        fabricate(tmp_path / "runs" / backbone, "dtd", backbone, 0, 0.8, n=n, split=split)
    (dataset,) = build(tmp_path / "runs")[0].datasets
    predictions = load_predictions(dataset)
    assert predictions.why_untested == "resnet50 (predictions of other images), swin_t (predictions of other images)"
