"""The lines that a run prints."""

import pytest

import digits
from common.cli.format import LINES, line_formatter
from common.cli.parse import make_config, parse

SCORES = {"train_loss": 1.0, "val_top1": 0.5, "val_nll": 1.0, "train_seconds": 1.0, "train_images_per_second": 9.0}


@pytest.mark.parametrize(
    ("steps", "patience", "shown"),
    [(60, None, [*range(6, 61, 6)]), (84 * 6, None, [*range(18, 504, 18), 504]), (503, None, 28), (504, 10, 84)],
)
def test_a_long_run_prints_some_of_its_epochs(tmp_path, monkeypatch, steps: int, patience, shown) -> None:
    monkeypatch.chdir(tmp_path)
    sheets = (digits.DATASET,)
    format_line = line_formatter(make_config(sheets, parse(sheets, ["--weights", "none"])))
    assert format_line({"note": "a", "recipe": {"phases": [{"steps": steps, "patience": patience}], "eval_every": 6}})
    ends = [min(end, steps) for end in range(6, steps + 6, 6)]
    lines = [end for end in ends if format_line({**SCORES, "step": end, "epoch": end // 6})]
    assert lines[-1] == steps and (lines == shown or len(lines) == shown)
    assert patience or len(lines) <= LINES


def test_the_score_that_selects_comes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sheets = (digits.DATASET,)
    format_line = line_formatter(make_config(sheets, parse(sheets, ["--weights", "none"])))
    epoch = {**SCORES, "val_auroc": 0.9, "step": 6, "epoch": 1}
    assert "validation top-1 50.00 %, nll" in format_line(epoch)
    assert format_line({"note": "a", "metric": "auroc"})
    assert "validation AUROC 90.00 %, top-1 50.00 %, nll" in format_line(epoch)
