"""Every data sheet's script on a miniature of its official layout."""

import json
import runpy
import sys
from pathlib import Path

import miniatures
import pytest

from common.__main__ import main as command
from common.cli import catalog
from common.run.results import METRICS

ROOT = Path(__file__).resolve().parents[2]
TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8", "--epochs", "2"]


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def start(script: str, *options: str, out: str = "out") -> dict:
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *TINY, "--subset", *options, "--out", out])
        runpy.run_path(str(ROOT / f"{script}.py"), run_name="__main__")
        return json.loads((tmp_path / out / "result.json").read_text())

    return start


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("cifar100", (24, 12, 24)),
        ("tinyimagenet", (9, 3, 9)),
        ("stanford_dogs", (9, 3, 9)),
        ("cub200", (9, 3, 9)),
        ("stanford_cars", (9, 3, 9)),
        ("food101", (9, 3, 9)),
        ("dtd", (9, 9, 9)),
        ("ucmerced", (63, 21, 21)),
        ("plantvillage", (9, 3, 6)),
        ("plantclef", (40, 20, 20)),
        ("galaxy10", (80, 10, 10)),
        ("rsna_pneumonia", (21, 3, 6)),
    ],
)
def test_a_run(run, script: str, parts: tuple[int, int, int], capsys: pytest.CaptureFixture) -> None:
    getattr(miniatures, script)(Path("data") / script)  # the default --data_dir
    result = run(script)
    split = result["split"]
    assert (split["train"], split["val"], split["test"]) == parts
    (sheet,) = (sheet for sheet in catalog.datasets() if sheet.name == script)
    assert result["dataset"] == script and result["metric"] == sheet.metric and result["fold"] == sheet.fold
    assert result["caveats"][: len(sheet.caveats)] == list(sheet.caveats)  # more if it predicts one class
    limits = "fold 1, subset" if script == "dtd" else "subset"
    assert capsys.readouterr().out.startswith(
        f"{script} ({limits}) timm:test_resnet from scratch: {METRICS[sheet.metric]} "
    )


def test_breakhis_by_magnification_and_fold(run) -> None:
    miniatures.breakhis(Path("data/breakhis"))
    held_out = run("breakhis", "--magnification", "100x")
    assert held_out["dataset"] == "breakhis-100x" and held_out["fold"] is None
    assert held_out["metric"] == "balanced_accuracy"
    fold = run("breakhis", "--fold", "3", out="fold")
    assert fold["dataset"] == "breakhis-40x" and fold["fold"] == 3 and fold["split"]["test"] == 6


def test_dtd_by_fold(run) -> None:
    miniatures.dtd(Path("data/dtd"))
    one, two = run("dtd", out="one"), run("dtd", "--fold", "2", out="two")
    assert (one["fold"], two["fold"]) == (1, 2)
    assert one["split"]["fingerprint"] != two["split"]["fingerprint"]


@pytest.mark.parametrize(
    ("script", "parts"),
    [
        ("dtd", (6, 3, 9)),  # the official validation set is out
        ("plantvillage", (9, 3, 6)),
        ("breakhis", (20, 4, 12)),
        ("rsna_pneumonia", (25, 4, 8)),  # 37 rows of 30 images
    ],
)
def test_the_papers_split(run, script: str, parts: tuple[int, int, int], capsys) -> None:
    getattr(miniatures, script)(Path("data") / script)
    result = run(script, "--split", "paper")
    split, caveats = result["split"], result["caveats"]
    assert (split["train"], split["val"], split["test"], split["kind"]) == (*parts, "paper")
    sheet = catalog.find(script)
    expected = [sheet.paper.note, *sheet.caveats]
    assert caveats[: len(expected)] == expected
    assert "the paper's split" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("script", "options", "expected"),
    [
        ("breakhis", ["--magnification", "50x"], "invalid choice: '50x'"),
        ("dtd", ["--fold", "11"], "--fold 11: DTD has these official folds: 1 to 10"),
        ("eurosat", ["--fold", "1"], "unrecognized arguments: --fold"),
        ("eurosat", ["--split", "paper"], "unrecognized arguments: --split"),
        ("breakhis", ["--fold", "1", "--split", "paper"], "two different splits"),
        ("dtd", ["--split", "paper", "--split_file", "mine.csv"], "not allowed with argument --split"),
    ],
)
def test_invalid_split_options(run, script: str, options: list[str], expected: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        run(script, *options)
    assert stop.value.code == 2 and expected in capsys.readouterr().err


def test_list_cites_every_dataset_once(capsys: pytest.CaptureFixture) -> None:
    command(["list"])
    cited = capsys.readouterr().out.partition("\ncitations\n")[2].splitlines()
    assert {line.split()[0] for line in cited} == {sheet.script for sheet in catalog.datasets()} - {"folder"}
    assert "eurosat        arXiv 1709.00029" in cited and len(cited) == len(set(cited)) == 17
