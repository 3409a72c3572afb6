"""`predict --threshold`: of two classes, from which probability on one is predicted."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from miniatures import picture

from common.__main__ import main as command
from common.models.build import create_model, get_backbone
from common.run import results
from common.run.operating_point import operating_points
from common.run.predictions import RunPredictions, write_confusion, write_predictions

CLASSES = ("healthy", "=sick")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two classes, with a random network and made-up predictions, and eight images."""
    folder = tmp_path_factory.mktemp("threshold") / "run"
    folder.mkdir()
    torch.manual_seed(0)
    row = get_backbone("timm:test_resnet")
    net = create_model(row, 2, None, size=(32, 32)).train()
    with torch.no_grad():
        net(torch.randn(8, 3, 32, 32))
    card = {
        "backbone": row.name,
        "classes": CLASSES,
        "native": None,
        "preprocess": row.preprocess((32, 32)).to_dict(),
        "temperature": 0.1,
    }
    results.write_weights(folder / results.BEST, net, card)
    rng, found = np.random.default_rng(0), {}
    for part, n in (("val", 40), ("test", 100)):
        labels = np.arange(n) % 2
        logits = rng.normal(size=(n, 2)).astype(np.float32)
        logits[np.arange(n), labels] += 1
        found[part] = RunPredictions(tuple(map(str, range(n))), labels, CLASSES, logits)
        write_predictions(folder, found[part], part)
    write_confusion(folder, np.eye(2, dtype=int), CLASSES)
    points = operating_points(found["val"], found["test"], 0.1)
    (folder / results.RESULT).write_text(json.dumps({"operating_points": points}))
    (folder.parent / "images").mkdir()
    for i in range(8):
        picture(i, hue=i % 3).save(folder.parent / "images" / f"{i}.jpg")
    return folder


def predicted(run: Path, capsys: pytest.CaptureFixture, *options: str) -> tuple[dict[str, tuple], str]:
    """{image: (the first class, {class: probability in %})}, and the lines on stderr."""
    command(["predict", str(run), str(run.parent / "images"), *options])
    printed = capsys.readouterr()
    rows = {}
    for line in printed.out.splitlines():
        found = re.findall(r"(healthy|=sick) ([\d.]+) %", line)
        rows[line.split(": ")[0]] = (found[0][0], {name: float(p) for name, p in found})
    return rows, printed.err


def test_a_threshold_decides(run: Path, capsys: pytest.CaptureFixture) -> None:
    rows, _ = predicted(run, capsys)
    p = sorted(probabilities["=sick"] for _, probabilities in rows.values())
    assert all(first == max(p, key=p.get) for first, p in rows.values()) and p[2] < p[5]
    threshold = (p[2] + p[3]) / 200
    decided, line = predicted(run, capsys, "--threshold", str(threshold))
    assert {image: p for image, (_, p) in decided.items()} == {image: p for image, (_, p) in rows.items()}
    assert all((first == "=sick") == (p["=sick"] >= 100 * threshold) for first, p in decided.values())
    assert line.startswith(f"=sick where its probability is at least {100 * threshold:.4g} %; on test recall ")
    other, _ = predicted(run, capsys, "--threshold", "1", "--positive", "healthy", "--top", "1")
    assert {first for first, _ in other.values()} == {"=sick"} and all(len(p) == 1 for _, p in other.values())


def test_a_recall_is_that_of_the_result(run: Path, capsys: pytest.CaptureFixture) -> None:
    points = json.loads((run / results.RESULT).read_text())["operating_points"]
    for point in (points[0], points[-1]):
        _, line = predicted(run, capsys, "--threshold", f"recall={point['recall']}", "--positive", point["class"])
        low, high = (100 * end for end in point["test"]["precision"]["interval"])
        assert f"{point['class']} where its probability is at least {100 * point['threshold']:.4g} %" in line
        assert f"(recall {100 * point['recall']:g} % on validation); on test recall" in line
        assert f"precision {100 * point['test']['precision']['value']:.1f} % [{low:.1f}, {high:.1f}]" in line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--threshold", "1.5"], "'1.5' is not a threshold: expected a probability such as 0.3, or recall=0.95"),
        (["--threshold", "precision=0.5"], "is not a threshold"),
        (["--threshold", "0.5", "--positive", "ill"], "--positive ill: no such class, expected healthy or =sick"),
        (["--positive", "=sick"], "add --threshold"),
    ],
)
def test_mistakes(run: Path, capsys: pytest.CaptureFixture, options: list[str], message: str) -> None:
    with pytest.raises(SystemExit) as stop:
        command(["predict", str(run), str(run.parent / "images"), *options])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and message in error and error.count("\n") == 1


def test_a_run_without_validation_predictions_takes_numbers_only(run: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / results.BEST).write_bytes((run / results.BEST).read_bytes())
    with pytest.raises(SystemExit):
        command(["predict", str(tmp_path), str(run.parent / "images"), "--threshold", "recall=0.9"])
    assert "give a threshold as a number" in capsys.readouterr().err
    command(["predict", str(tmp_path), str(run.parent / "images"), "--threshold", "0.5"])
    assert capsys.readouterr().err == "=sick where its probability is at least 50 %\n"
