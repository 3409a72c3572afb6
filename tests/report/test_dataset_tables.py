"""The report's tables of every class, of thresholds and of the cost of serving."""

import json
from pathlib import Path

from fabricated_runs import fabricate, text, write_page

from common.run.per_class import class_scores
from common.run.predictions import read_predictions

POINT = {
    "class": "猫 $x_1$ & b",
    "recall": 0.95,
    "threshold": 0.2143,
    "val": {"precision": None, "recall": None, "f1": None},
    "test": {"recall": {"value": 0.938, "interval": [0.882, 0.968]}, "precision": None, "f1": None},
}
ENGINES = [
    {"engine": name, "threads": 1, "p50_ms": 12.34, "p95_ms": 15.6, "images_per_second": 99.5, "file_bytes": 13_700_000}
    for name in ("PyTorch", "ONNX Runtime int8")
]  # fmt: skip
INT8 = {"difference": -0.0125, "interval": [-0.02, -0.005]}


def test_every_class(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "a"
    fabricate(folder, "dtd", "resnet50", 0, 0.9)
    page, found = text(write_page(tmp_path / "runs")), read_predictions(folder)
    assert "Every class, resnet50, first seed" in page
    for name, row in zip(found.classes, class_scores(found.logits, found.labels), strict=True):
        cells = " ".join(
            f"{100 * row[m]['value']:.1f} [{100 * row[m]['interval'][0]:.1f}, {100 * row[m]['interval'][1]:.1f}]"
            for m in ("precision", "recall", "f1", "auroc")
        )
        assert f"{name} {row['images']} {cells}" in page


def test_thresholds_and_the_cost_of_serving(tmp_path: Path) -> None:
    """Of the runs that have them; a damaged measurement is left out."""
    runs = tmp_path / "runs"
    fabricate(runs / "a", "dtd", "resnet50", 0, 0.97, operating_points=[POINT])
    fabricate(runs / "b", "dtd", "swin_t", 0, 0.6)
    measured = {"engines": ENGINES, "int8": INT8, "device": "An idle machine"}
    (runs / "a" / "serve.json").write_text(json.dumps(measured))
    (runs / "b" / "serve.json").write_text(json.dumps(measured)[:50])
    page = text(write_page(runs))
    assert "猫 $x_1$ & b 95 21.43 93.8 [88.2, 96.8]" in page
    assert "Cost of serving on An idle machine" in page
    assert (
        "resnet50 PyTorch 1 12.3 15.6 99.5 13.7 resnet50 ONNX Runtime int8 1 12.3 15.6 99.5 13.7 -1.25 [-2.00, -0.50]"
        in page
    )
    assert "swin_t PyTorch" not in page


def test_older_runs_have_neither(tmp_path: Path) -> None:
    fabricate(tmp_path / "runs" / "a", "dtd", "resnet50", 0, 0.9)
    page = text(write_page(tmp_path / "runs"))
    assert "Cost of serving" not in page and "Decision thresholds" not in page
