"""A run folder that the former version wrote (`former_version/`, without its weights) is read, or refused in one line."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import folder
from common import main
from common.__main__ import main as command
from common.errors import UserError
from common.models.build import create_model, get_backbone
from common.report.runs import load_runs
from common.run.recorded_recipe import current_recipe
from common.run.results import BEST
from common.training import checkpoint

FORMER = Path(__file__).parent / "former_version"
HEADER = "best.safetensors.header.json"


@pytest.fixture
def former(class_tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_intervals: None) -> Path:
    """The folder, beside the images that it was made of."""
    class_tree(n=20)
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(FORMER, tmp_path / "runs" / "former")


def result_of(out: str) -> dict:
    return json.loads(Path(out, "result.json").read_text())


def test_options_repeat_the_run_at_the_rate_that_was_searched(former: Path) -> None:
    options = ["--config", str(former / "options.yaml"), "--lr", "3e-3", "--out", "runs/again"]
    main(folder.DATASET, options)
    old, new = result_of("runs/former"), result_of("runs/again")
    assert old["split"].items() <= new["split"].items() and "within" in old["recipe"]
    assert current_recipe(old["recipe"]) == current_recipe(new["recipe"])
    runs = load_runs([Path("runs")]).finished
    assert len(runs) == 2 and {run.setting for run in runs} == {runs[0].setting}


def test_report(former: Path) -> None:
    command(["report", "runs", "-o", "report.html"])
    assert "timm:test_resnet" in Path("report.html").read_text()


def test_split_file(former: Path) -> None:
    options = "-model timm:test_resnet --weights none --image_size 32 --steps 1 --data_dir images --out new"
    main(folder.DATASET, [*options.split(), "--split_file", str(former / "split.csv")])
    assert result_of("new")["split"]["fingerprint"] == result_of("runs/former")["split"]["fingerprint"]


def test_weights_predict(former: Path, capsys: pytest.CaptureFixture) -> None:
    net = create_model(get_backbone("timm:test_resnet"), 3, None)
    save_file(net.state_dict(), former / BEST, {"about": (former / HEADER).read_text()})
    command(["predict", str(former), "images/ant/ant_0.jpg", "--top", "1"])
    assert capsys.readouterr().out.split(": ")[1].split()[0] in ("ant", "bee", "cow")


def test_an_unfinished_run_is_not_resumed(former: Path, capsys: pytest.CaptureFixture) -> None:
    (former / "result.json").unlink()
    before = sorted(former.iterdir())
    with pytest.raises(SystemExit) as stop:
        main(folder.DATASET, ["--resume", str(former)])
    (error,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert stop.value.code == 2 and "another version of the code started it" in error
    assert "Resume with that version, or start a new run" in error
    assert sorted(former.iterdir()) == before


def test_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / checkpoint.FOLDER).mkdir()
    torch.save({"form": 1, "progress": {"step": 3}}, tmp_path / checkpoint.FOLDER / checkpoint.LAST)
    with pytest.raises(UserError, match="format 1, expected 2; start a new run"):
        checkpoint.load(tmp_path)
