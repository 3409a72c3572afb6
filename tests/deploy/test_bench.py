"""The speed of training on this machine, measured by the command `bench`."""

import json
from pathlib import Path

import pytest

from common.__main__ import main as command


def test_bench(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "bench.json"
    options = ["--image_size", "32", "-bs", "4", "--steps", "2", "--precision", "fp32", "--out", str(out)]
    command(["bench", "-model", "timm:test_resnet", *options])
    (row,) = json.loads(out.read_text())
    assert row["backbone"] == "timm:test_resnet" and row["size"] == [32, 32] and row["precision"] == "fp32"
    assert row["synthetic"] > 0 and row["end_to_end"] > 0 and 0 < row["utilization"] < 1
    assert len(row["ratios"]) == 4 and row["ratios"][0] <= row["ratio"] <= row["ratios"][-1]
    assert row["peak_memory_bytes"] > 10**7
    assert "timm:test_resnet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-model", "resnet51"], "resnet51"),
        (["-model", "efficientnet_v2_s", "--image_size", "16"], "needs images of 33 pixels or more"),
        (["--steps", "0"], "--steps 0: expected 1 or more"),
        (["--out", "bench.json"], "bench.json exists already"),
    ],
)
def test_mistakes_are_rejected(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.json").touch()
    with pytest.raises(SystemExit) as stop:
        command(["bench", *options])
    assert stop.value.code == 2 and message in capsys.readouterr().err
