"""The command `report`: page, CSV, Markdown tables, user errors."""

import csv
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fabricated_runs import fabricate, fabricate_grid, page_text, text, write_page
from sklearn.metrics import accuracy_score

import digits
from common import main
from common.__main__ import main as command
from common.report.runs import Run, load_runs


def test_table_values_match_the_predictions(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    html_text = page_text(runs)
    values = []
    for seed in (0, 1):
        with open(runs / f"eurosat-resnet50-{seed}" / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        values.append(accuracy_score([r["label"] for r in rows], [r["predicted"] for r in rows]))
    mean, spread = 100 * np.mean(values), 100 * np.std(values, ddof=1)
    assert f"{mean:.2f} [{mean - 1:.2f}, {mean + 1:.2f}] ± {spread:.2f}, n = 2" in html_text
    with open(runs.parent / "out" / "results.csv", newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 22 and {
        float(r["top1"]) for r in table if r["dataset"] == "eurosat" and r["backbone"] == "resnet50"
    } == set(values)
    markdown = (runs.parent / "out" / "tables.md").read_text()
    assert f"{mean:.2f} ± {spread:.2f} (2)" in markdown


def test_empty_parts_are_omitted(tmp_path: Path) -> None:
    fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    html_text = page_text(tmp_path / "runs")
    assert "No other backbone was run on it: there is nothing to compare it with." in html_text
    for heading in (
        "Mean ranks",
        "Accuracy against cost",
        "Low data",
        "Selection on the test set",
        "McNemar",
        "Missing",
    ):
        assert heading not in html_text


class Outline(HTMLParser):
    """Elements, ids and addresses of a page."""

    def __init__(self, html: str):
        super().__init__()
        self.opened, self.loads, self.ids = [], [], []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))
        self.loads += [v for k, v in attrs if k in ("src", "href", "xlink:href", "srcset", "data", "action") and v]
        self.ids += [v for k, v in attrs if k == "id"]


def test_page_is_self_contained_and_escapes_names(tmp_path: Path) -> None:
    runs = fabricate_grid(tmp_path)
    fabricate(runs / "evil", '<img src="//evil.example/x">', "timm:<script>alert(2)</script>", 0, 0.9)
    html = write_page(runs)
    assert len(html.encode()) < 5_000_000
    outline = Outline(html)
    local = ("#", "data:image/png;base64,")
    assert {a for a in outline.loads if not a.startswith(local)} == {"results.csv", "tables.md"}
    assert not re.search(r"@import|url\((?!#)", html)
    assert [tag for tag, _ in outline.opened].count("script") == 1 and "img" not in [tag for tag, _ in outline.opened]
    assert "<script>alert(1)</script>" in text(html.replace("<script>addEventListener", "<script>"))
    assert len(outline.ids) == len(set(outline.ids))
    targets = {address[1:] for address in outline.loads if address.startswith("#")}
    assert targets <= set(outline.ids)
    charts = [attrs for tag, attrs in outline.opened if tag == "svg" and "aria-hidden" not in attrs]
    assert charts and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in charts)
    assert all("scope" in attrs for tag, attrs in outline.opened if tag == "th")


@pytest.mark.parametrize("name", ["report.html", "results.csv", "tables.md"])
def test_nothing_is_overwritten(name: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = fabricate_grid(tmp_path)
    (tmp_path / name).write_text("existing")
    with pytest.raises(SystemExit) as stopped:
        command(["report", str(runs), "-o", str(tmp_path / "report.html")])
    assert stopped.value.code == 2 and f"{name} exists already" in capsys.readouterr().err
    assert {p.name for p in tmp_path.iterdir() if p.is_file()} == {name} and (tmp_path / name).read_text() == "existing"


EVIL = "ant\x1b[31m\r\x07"
ESCAPES = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b]")


@pytest.mark.parametrize("line", ["report", "status"])
def test_a_foreign_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture, line: str) -> None:
    """The names in `result.json` and of the folders are someone else's."""
    runs = tmp_path / "runs"
    fabricate(runs / "a", EVIL, "timm:\x1b[2Jresnet", 0, 0.9, caveats=[f"A caveat {EVIL}"], folder=EVIL)
    fabricate(runs / f"broken{EVIL}", "eurosat", "resnet50", 0, 0.9)
    (runs / f"broken{EVIL}" / "result.json").write_text(json.dumps({"dataset": EVIL}))
    command(["report", str(runs), "-o", str(tmp_path / "report.html")] if line == "report" else ["status", str(runs)])
    printed = capsys.readouterr()
    assert not ESCAPES.search(printed.out + printed.err)
    if line == "report":
        assert not ESCAPES.search((tmp_path / "tables.md").read_text())


def test_user_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "empty").mkdir()
    page = tmp_path / "o" / "report.html"
    for name, out, message in (
        ("empty", page, "no finished run in"),
        ("nowhere", page, "no folder"),
        ("empty", tmp_path / "o", "expected the name of a page, such as "),
    ):
        with pytest.raises(SystemExit) as stopped:
            command(["report", str(tmp_path / name), "-o", str(out)])
        error = capsys.readouterr().err
        assert stopped.value.code == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.draws
def test_report_of_a_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report reads what the scripts write."""
    monkeypatch.chdir(tmp_path)
    main(digits.DATASET, [
        "-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "--epochs", "1", "-bs", "64", "--out", "runs/a",
    ])  # fmt: skip
    result = json.loads(Path("runs/a/result.json").read_text())
    (run,) = load_runs([Path("runs")]).finished
    assert isinstance(run, Run) and run.scores["top1"][0] == result["test"]["top1"]["value"] and run.epochs == 1
    command(["report", "runs"])
    assert Path("runs/a/mistakes.jpg").exists(), "one epoch leaves some mistakes"
    assert 'src="data:image/jpeg;base64,' in Path("report.html").read_text()
    html_text = text(Path("report.html").read_text())
    assert (
        f"{100 * run.scores[run.metric][0]:.2f}" in html_text
        and f"python {result['command']}" in html_text
        and "handwriting" in html_text
    )
    assert sys.version.split()[0] in html_text
