"""The protocol `probe`: nothing is trained, the penalty is chosen on validation, the probe becomes the network's head."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import cifar10
import folder
from common import main
from common.__main__ import main as command
from common.deploy.predict import predict
from common.models import build
from common.report.runs import load_runs
from common.report.sections import build_sections
from common.spec import Dataset, Samples
from common.transfer import features, linear_probe
from common.transfer.linear_probe import PENALTIES, fit, ridge_path

TINY = ["-model", "timm:test_resnet", "--weights", "none", "--image_size", "32", "-bs", "8"]


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def probed(sheet: Dataset, data: Path, *options: object, out: str = "out") -> dict:
    main(sheet, [*TINY, "--protocol", "probe", "--data_dir", str(data), *map(str, options), "--out", out])
    return json.loads(Path(out, "result.json").read_text())


def test_a_probe_from_argv_to_predictions(class_tree, capsys: pytest.CaptureFixture) -> None:
    """`predict` and `export` find a network whose head is the probe: it message what the run's predictions say."""
    images = class_tree(n=20)
    result = probed(folder.DATASET, images)
    assert (result["protocol"], result["chosen_on"]) == ("probe", "val") and result["recipe"]["phases"] == []
    assert set(result["test"]) == {"top1", "macro_f1", "balanced_accuracy", "auroc", "nll", "ece"}
    assert result["knn"]["k"] == 20 and 0 <= result["knn"]["test"]["top1"]["value"] <= 1
    assert result["cost"]["train_seconds"] > result["cost"]["fit_seconds"] > 0
    assert result["temperature"] == 1 and result["test_calibrated"]["nll"] == result["test"]["nll"]
    printed = capsys.readouterr()
    assert "frozen, linear probe: top-1 " in printed.out and "chosen on 6 validation images" in printed.out
    assert printed.err.count("penalty ") == 1
    left = {path.name for path in Path("out").iterdir() if not path.name.startswith("events")}
    assert left == {
        "best.safetensors", ".lock", "config.json", "confusion.csv", "confusion.png", "contact_sheet.jpg", "log.jsonl", "options.yaml", "per_class.csv", "predictions.csv", "val_logits.npy", "val_predictions.csv",
        "result.json", "split.csv", "test_logits.npy", *(["mistakes.jpg"] if result["test"]["top1"]["value"] < 1 else []),
    }  # fmt: skip
    with open("out/predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == result["split"]["test"]
    predicted = list(predict(Path("out"), [images / row["image"] for row in rows], top=1))
    for row, (_, ((name, probability),)) in zip(rows, predicted, strict=True):
        assert name == row["predicted"]
        assert probability == pytest.approx(float(row["probability"]), abs=1e-3)
    command(["export", "out", "--format", "torchscript"])
    assert Path("out/model.pt").exists()


def test_validation_selects_and_test_does_not(class_tree) -> None:
    """Of all penalties the one of the best score there, of equals the one that leaves out with the least error."""
    result = probed(folder.DATASET, class_tree(n=20))
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    assert len(log) == len(PENALTIES) and not any(name.startswith("test") for one in log for name in one)
    assert result["best"] == max(log, key=lambda one: (one["val_top1"], -one["train_left_out"]))


def test_whole_groups_are_left_out(class_tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where penalties do equally well on validation, the error of left-out groups tells; here, twins of one picture."""
    images = class_tree(n=20)

    def twins(*args, **more) -> Samples:
        samples = folder.DATASET.load(*args, **more)
        return replace(samples, groups=[f"{label}/{i // 2}" for i, label in enumerate(samples.labels)])

    groups_seen = []
    leave_out_error = linear_probe.leave_out_error
    monkeypatch.setattr(
        linear_probe,
        "leave_out_error",
        lambda r, groups, p: groups_seen.append(groups) or leave_out_error(r, groups, p),
    )
    result = probed(replace(folder.DATASET, load=twins), images)
    assert len(groups_seen) == len(PENALTIES) and len(groups_seen[0]) == result["split"]["train"]
    assert set(np.bincount(groups_seen[0])) == {2}


def test_other_test_images_select_the_same_penalty(class_tree) -> None:
    images = class_tree(n=20)
    first = probed(folder.DATASET, images)
    rows = Path("out/split.csv").read_text().splitlines()
    others = [row for row in rows if not row.endswith(",test")]
    test = [row for row in rows if row.endswith(",test")]
    Path("fewer.csv").write_text("\n".join([*others, *test[::2]]) + "\n")
    other = probed(folder.DATASET, images, "--split_file", "fewer.csv", out="other")
    assert other["split"]["test"] < first["split"]["test"]
    for name in ("penalty", "scale", "val_top1", "val_nll"):
        assert other["best"][name] == pytest.approx(first["best"][name], rel=1e-4)


def test_features_are_extracted_once_for_all_seeds(cifar_tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another seed draws another validation set; with the same weights its images have been looked at."""
    probed(cifar10.DATASET, cifar_tree, "--subset")
    given = ("--subset", "--weights", "out/best.safetensors")
    made = probed(cifar10.DATASET, cifar_tree, *given, out="made")
    monkeypatch.setattr(features, "extract_features", None)
    again = probed(cifar10.DATASET, cifar_tree, *given, out="again")
    other = probed(cifar10.DATASET, cifar_tree, *given, "--seed", 1, out="other")
    assert not made["features_remembered"] and again["features_remembered"] and other["features_remembered"]
    assert again["test"] == made["test"] and other["split"]["fingerprint"] != made["split"]["fingerprint"]
    assert again["cost"]["peak_memory_bytes"] is None and made["cost"]["peak_memory_bytes"] > 0


def test_without_the_cache_it_is_the_same(class_tree) -> None:
    images = class_tree(n=12)
    (images / "ant" / "broken.jpg").write_bytes(b"no picture")
    cached = probed(folder.DATASET, images, "--skip_bad")
    fresh = probed(folder.DATASET, images, "--skip_bad", "--no_cache", out="fresh")
    assert cached["skipped_images"] == fresh["skipped_images"] == 1
    assert np.allclose(np.load("out/test_logits.npy"), np.load("fresh/test_logits.npy"), atol=1e-3)


def test_two_classes_lead_with_auroc(class_tree) -> None:
    result = probed(folder.DATASET, class_tree(("no", "yes"), n=20))
    assert result["metric"] == "auroc" and "val_auroc" in result["best"] and "auroc" in result["knn"]["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "3"), "trains nothing: drop --epochs"),
        (("--lr", "auto", "--class_weights"), "drop --lr, --class_weights"),
        (("--augment", "trivial", "--tune"), "drop --augment, --tune"),
        (("--micro_bs", "4", "--save_every", "9"), "drop --micro_bs, --save_every"),
        (("--steps", "3", "--optimizer", "sgd", "--weight_decay", "0", "--eval_every", "1", "--compile"),
         "drop --steps, --optimizer, --weight_decay, --eval_every, --compile"),
        (("--balanced_sampling", "--augment", "none"), "drop --balanced_sampling"),
    ],
)  # fmt: skip
def test_training_options_are_refused(class_tree, capsys: pytest.CaptureFixture, options: tuple, message: str) -> None:
    with pytest.raises(SystemExit) as end:
        probed(folder.DATASET, class_tree(n=4), *options)
    error = capsys.readouterr().err
    assert end.value.code == 2 and message in error and error.count("\n") == 1 and not Path("out").exists()


def test_several_processes_are_refused(class_tree, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SystemExit):
        probed(folder.DATASET, class_tree(n=4))
    assert "works with a single process" in capsys.readouterr().err


def test_a_killed_run_restarts_in_its_folder(class_tree, capsys: pytest.CaptureFixture) -> None:
    probed(folder.DATASET, class_tree(n=10))
    before = json.loads(Path("out/result.json").read_text())
    Path("out/result.json").unlink()
    with pytest.raises(SystemExit) as end:
        main(folder.DATASET, ["--resume", "out", "--seed", "1"])
    assert end.value.code == 2 and "as another run: seed was 0, is 1" in capsys.readouterr().err
    main(folder.DATASET, ["--resume", "out"])
    after = json.loads(Path("out/result.json").read_text())
    assert (after["test"], after["best"]) == (before["test"], before["best"])
    assert len(Path("out/log.jsonl").read_text().splitlines()) == len(
        set(Path("out/log.jsonl").read_text().splitlines())
    )


def test_the_report_keeps_protocols_apart(class_tree, capsys: pytest.CaptureFixture) -> None:
    images = class_tree(n=20)
    for shots in (2, 4):
        low_data = ("--shots", shots)
        probed(folder.DATASET, images, *low_data, out=f"runs/probe{shots}")
        main(folder.DATASET, [
            *TINY, "--data_dir", str(images), *map(str, low_data), "--epochs", "1", "--out", f"runs/clean{shots}",
        ])  # fmt: skip
    found = build_sections(load_runs([Path("runs")]).finished, {})
    cells = [cell for section in found for dataset in section.datasets for cell in dataset.cells.values()]
    assert all(len({run.setting.protocol for run in cell.runs}) == 1 for cell in cells)
    assert sorted(s.setting.title for s in found) == sorted(
        f"{start}, protocol {protocol}, {shots} shots"
        for protocol, start in (("probe", "random and frozen"), ("clean", "from scratch"))
        for shots in (2, 4)
    )
    command(["report", "runs", "-o", "report.html"])
    page = Path("report.html").read_text()
    assert "protocol clean overtakes the probe" in page
    tables = Path("tables.md").read_text()
    assert "Protocol `probe`: the penalty of a linear probe on frozen features is chosen on validation" in tables


@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit", "timm:test_efficientnet", "shufflenet_g8_cifar"])
def test_the_layer_is_the_probe(name: str) -> None:
    """Features and a linear layer, or the network with that layer for a head: the same logits, centring inside."""
    row = build.get_backbone(name)
    size = 160 if name == "timm:test_vit" else 32
    images = torch.rand(12, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = np.arange(12) % 3
    net = features.seeded_model(row, None, 3, seed=0).eval()
    frozen = features.remove_head(features.seeded_model(row, None, 2, seed=0), row.head).eval()
    with torch.inference_mode():
        values = frozen(images).flatten(1).numpy()
    ridge = fit(values, labels, 3)
    weight, bias = ridge.layer(0.5)
    expected = ridge.logits(values) / 0.5
    assert np.allclose(values @ weight.T + bias, expected, atol=1e-3)
    features.set_head(net, row.head, weight, bias)
    with torch.inference_mode():
        assert np.allclose(net(images).numpy(), expected, atol=1e-3)


def test_a_feature_that_is_zero_in_train_has_no_influence() -> None:
    """One image lights it up a little; standardised, another image of it would outweigh all others."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    values = rng.normal(size=(200, 8)) + labels[:, None]
    values[:, 7] = 0
    values[0, 7] = 1e-6
    fresh = rng.normal(size=(50, 8))
    fresh[0, 7] = 3.0
    for ridge, _ in ridge_path(values, labels, 2):
        assert np.abs(ridge.logits(fresh)).max() < 100  # 1e7 if standardised
    chosen = fit(values, labels, 2)
    assert np.abs(chosen.logits(fresh)).max() < 3 and (chosen.logits(values).argmax(1) == labels).mean() > 0.8
