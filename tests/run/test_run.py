"""Whole runs through the scripts' own entry point, on miniatures of the official layouts."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from tiny import TINY

import cifar10
import digits
import eurosat
import flowers102
import folder
from common import main
from common.__main__ import main as command
from common.run.results import read_model_card

FILES = {
    ".lock", "best.safetensors", "config.json", "confusion.csv", "confusion.png", "contact_sheet.jpg", "curve.png", "log.jsonl", "options.yaml", "per_class.csv", "predictions.csv",
    "result.json", "split.csv", "test_logits.npy", "val_logits.npy", "val_predictions.csv",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(dataset, *options: object, out: str = "out", capsys=None) -> dict:
    main(dataset, [*TINY, *map(str, options), "--out", out])
    return json.loads((Path(out) / "result.json").read_text())


@pytest.mark.draws
def test_a_users_folder_from_start_to_prediction(class_tree, capsys: pytest.CaptureFixture) -> None:
    images = class_tree(n=20)
    result = run(folder.DATASET, "--data_dir", images, "--epochs", 8)
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1].startswith("folder timm:test_resnet from scratch: top-1 ") and printed[-1].endswith("-> out")
    left = {p.name for p in Path("out").iterdir() if "tfevents" not in p.name}
    assert left == FILES | ({"mistakes.jpg"} if result["test"]["top1"]["value"] < 1 else set())
    assert any("tfevents" in p.name for p in Path("out").iterdir())

    split, test = result["split"], result["test"]
    assert (split["train"], split["val"], split["test"]) == (42, 6, 12) and len(split["fingerprint"]) == 16
    assert set(test) == {"top1", "macro_f1", "balanced_accuracy", "auroc", "nll", "ece"}
    assert all(score["interval"][0] <= score["value"] <= score["interval"][1] + 1e-9 for score in test.values())
    assert test["top1"]["value"] > 0.6, "three colours"
    assert result["parameters"] > 0 and result["macs"] > 0 and result["chosen_on"] == "val"
    assert len((Path("out") / "log.jsonl").read_text().splitlines()) == 8

    with open("out/predictions.csv") as file:
        rows = list(csv.DictReader(file))
    logits = np.load("out/test_logits.npy")
    assert len(rows) == 12 and logits.shape == (12, 3)
    assert sum(row["label"] == row["predicted"] for row in rows) / 12 == pytest.approx(test["top1"]["value"])
    assert read_model_card(Path("out/best.safetensors"))["classes"] == ["ant", "bee", "cow"]

    command(["predict", "out", *(str(images / row["image"]) for row in rows), "--top", "1"])
    predicted = [line.rsplit(": ", 1)[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert predicted == [row["predicted"] for row in rows], "a prediction repeats what the run saw"
    command(["predict", "out", str(images / "bee")])
    assert len(capsys.readouterr().out.splitlines()) == 20


@pytest.mark.draws
def test_class_names_with_math_characters(class_tree) -> None:
    """Matplotlib would take them for some, and fail when all is trained."""
    run(folder.DATASET, "--data_dir", class_tree(("a$b^$", "$x^$", "$5")), out="out")
    assert {"confusion.png", "result.json"} <= {path.name for path in Path("out").iterdir()}


def test_the_same_command_twice_gives_the_same_bits(class_tree) -> None:
    images = class_tree()
    one, two = (run(folder.DATASET, "--data_dir", images, "--seed", 3, out=out) for out in ("one", "two"))
    assert one["test"] == two["test"]
    assert Path("one/best.safetensors").read_bytes() == Path("two/best.safetensors").read_bytes()
    assert Path("one/test_logits.npy").read_bytes() == Path("two/test_logits.npy").read_bytes()
    other = run(folder.DATASET, "--data_dir", images, "--seed", 4, out="other")
    assert Path("one/best.safetensors").read_bytes() != Path("other/best.safetensors").read_bytes()
    assert other["split"]["test"] == one["split"]["test"]


def test_precision_changes_the_arithmetic(class_tree) -> None:
    images, logits = class_tree(), {}
    for precision in ("fp32", "bf16"):
        result = run(folder.DATASET, "--data_dir", images, "--precision", precision, out=precision)
        logits[precision] = np.load(f"{precision}/test_logits.npy")
        assert result["precision"] == precision
        AcceleratorState._reset_state(reset_partial_state=True)  # as a new process
    assert not np.array_equal(logits["fp32"], logits["bf16"])
    assert np.abs(logits["fp32"] - logits["bf16"]).max() < 0.5


def test_eurosat_subset(class_tree) -> None:
    result = run(eurosat.DATASET, "--data_dir", class_tree(eurosat.DATASET.classes), "--subset")
    assert result["subset"] and result["classes"] == 10 and result["split"]["test"] == 30
    assert "top5" in result["test"] and result["caveats"]


def test_cifar10(cifar_tree: Path) -> None:
    result = run(cifar10.DATASET, "--data_dir", cifar_tree, "--subset")
    assert (result["split"]["train"], result["split"]["val"], result["split"]["test"]) == (90, 10, 20)


def test_flowers_as_in_the_paper(flowers_tree: Path) -> None:
    """Train and validation are merged, and validation is carved from both."""
    result = run(flowers102.DATASET, "--data_dir", flowers_tree, "--subset", "--split", "paper")
    assert [result["split"][part] for part in ("train", "val", "test")] == [15, 5, 15]


def test_flowers(flowers_tree: Path) -> None:
    result = run(flowers102.DATASET, "--data_dir", flowers_tree, "--subset")
    assert (result["split"]["train"], result["split"]["val"], result["split"]["test"]) == (10, 10, 15)
    assert result["classes"] == 5


def test_digits_from_real_weights(capsys: pytest.CaptureFixture) -> None:
    options = "--fraction 0.1 --steps 3 --image_size 32 -bs 32 --offline --out out"
    main(digits.DATASET, options.split())
    result = json.loads(Path("out/result.json").read_text())
    assert result["weights_sha256"].startswith("57934424") and result["backbone"] == "efficientnet_lite0"
    assert "on 364 test images" in capsys.readouterr().out


def test_skip_bad_counts_unreadable_images(class_tree) -> None:
    images = class_tree()
    (images / "ant" / "ant_1.jpg").write_bytes(b"broken")
    result = run(folder.DATASET, "--data_dir", images, "--skip_bad")
    split = result["split"]
    assert result["skipped_images"] == 1 and split["train"] + split["val"] + split["test"] == 29


def test_a_run_starts_from_another_runs_weights(class_tree) -> None:
    images = class_tree()
    run(folder.DATASET, "--data_dir", images, out="first")
    result = run(folder.DATASET, "--data_dir", images, "--weights", "first/best.safetensors", out="second")
    assert result["weights"] == "first/best.safetensors"


def test_the_default_run_folder_is_new_every_time(class_tree) -> None:
    main(folder.DATASET, [*TINY, "--data_dir", str(class_tree())])
    (made,) = Path("runs").iterdir()
    assert made.name.startswith("folder-timm_test_resnet-s0-2")


@pytest.mark.parametrize(("error", "message"), [("ENOSPC", "no space left on the disk"), ("EACCES", "cannot write to")])
def test_a_full_or_read_only_disk(class_tree, monkeypatch, capsys, error: str, message: str) -> None:
    import errno
    import os

    def refuse(*_: object, **__: object) -> None:
        code = getattr(errno, error)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("os.replace", refuse)  # where a finished file takes its place
    with pytest.raises(SystemExit) as stop:
        run(folder.DATASET, "--data_dir", class_tree())
    assert stop.value.code == 2 and message in capsys.readouterr().err and not Path("out").exists()
