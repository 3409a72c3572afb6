"""`recommend --image_size` with several sizes."""

from pathlib import Path

import pytest
from folders import TINY, class_folders, run_recommend, shapes

from common.recommend import cost_model
from common.recommend.sizes import format_sizes


def test_the_first_backbone_is_probed_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost_model, "step_times", lambda *_: {"step_seconds": 0.5})
    data = class_folders("shapes", {"disc": 10, "square": 10}, shapes)
    options = ["--weights", "none", "--offline", "--precision", "fp32", "--image_size", "32,48,32"]
    answer = run_recommend("--data_dir", data, "-model", TINY[0], *options)
    rows = {row["name"]: row for row in answer["sizes"]}
    assert rows.keys() == {"32x32", "48x48"} and answer["backbones"][0]["size"] == [32, 32]
    assert rows["32x32"]["score"] == answer["backbones"][0]["score"]
    assert all(row["images_per_second"] > 0 for row in rows.values())
    assert f"At which size? Probe of {TINY[0]}: " in capsys.readouterr().out


def test_the_fastest_tied_size_is_named() -> None:
    fields = {"tied": True, "images_per_second": 100.0}
    rows = [
        {"name": "224x224", "score": 0.9, **fields},
        {"name": "128x128", "score": 0.89, **fields, "images_per_second": 300.0},
    ]
    assert format_sizes("net", rows).endswith("300 img/s; 128x128 is not significantly worse than the best.")
