"""The agreement of recommendations with fine-tuned rankings."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.__main__ import main
from common.errors import UserError
from common.report import agreement
from common.report.runs import REQUIRED


def recommendation(dataset: str, scores: dict[str, float]) -> dict:
    rows = [
        {"backbone": name, "weights": "imagenet", "size": [32, 32], "score": s, "knn": -s, "logme": s, "h_score": s,
         "imagenet_top1": None if name == "w" else s}
        for name, s in scores.items()
    ]  # fmt: skip
    return {
        "dataset": dataset,
        "metric": "top1",
        "test_fingerprint": "x",
        "subset": False,
        "shots": None,
        "backbones": rows,
    }


def finetuned(dataset: str, scores: dict[str, float], /, lr: float = 1e-3, **more) -> list[dict]:
    """Results of one seed."""
    split = {"kind": "clean", "fingerprint": "f", "test_fingerprint": "x", "train": 80, "val": 10, "test": 20}
    recipe = {"name": "clean", "phases": [{"steps": 20, "lr": lr}], "eval_every": 10}
    versions = dict.fromkeys(("python", "torch", "torchvision", "timm"), "1")
    split |= more.pop("split", {})
    return [
        {"dataset": dataset, "backbone": name, "weights": "pip:...", "protocol": "clean", "chosen_on": "val", "subset": False,
         "shots": None, "fraction": None, "fold": None, "split": split, "preprocess": {"size": [32, 32]}, "classes": 3, "seed": 0,
         "recipe": recipe, "recipe_source": "options", "augment": {}, "balanced_sampling": False, "batch_size": 8, "steps_per_epoch": 10,
         "metric": "top1", "test": {metric: {"value": s, "interval": None} for metric in REQUIRED}, "best": {"val_top1": s},
         "parameters": 1, "macs": 1, "cost": {}, "device": "CPU", "threads": 1, "precision": "fp32", "caveats": [], **versions, **more}
        for name, s in scores.items()
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _any_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name is a backbone's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        agreement.build, "get_backbone", lambda name: SimpleNamespace(weights="pip:...", pretrained_on="ImageNet-1k")
    )


def test_weighted_taus(capsys: pytest.CaptureFixture) -> None:
    order = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.9}
    Path("answers").mkdir()
    for dataset in ("one", "two", "three"):
        Path(f"{dataset}.json").write_text(json.dumps(recommendation(dataset, order)))
    runs = [run for dataset in ("one", "two", "three") for run in finetuned(dataset, order)]
    paper, other = {"kind": "paper", "test_fingerprint": "x"}, {"kind": "clean", "test_fingerprint": "y"}
    for more in (
        {"protocol": "paper"}, {"weights": "none"}, {"weights": "file.pth"}, {"split": paper}, {"split": other},
    ):  # fmt: skip
        runs += finetuned("one", {"a": 0.99}, **more)  # not comparable
    Path("runs.jsonl").write_text("\n".join(map(json.dumps, runs)))
    paths = [Path(name) for name in ("one.json", "two.json", "three.json", "runs.jsonl")]
    agreements = agreement.validate(*agreement.read(paths))
    for one in agreements:
        assert one.backbones == 4
        assert one.tau["score"] == pytest.approx(1) and one.tau["knn"] == pytest.approx(-1)
        assert one.tau["other_datasets"] == pytest.approx(1)

    def mean(*taus: float | None, names: str = "abcdef") -> object:
        agreements = [agreement.Agreement(name, "x", 3, {"score": tau}) for name, tau in zip(names, taus, strict=False)]
        return agreement.mean(agreements, "score")

    interval = pytest.approx((-0.742, 1.0), abs=1e-3)  # t of 2 degrees of freedom is 4.303; a tau is at most 1
    assert mean(1.0, 0.0, 0.5) == (0.5, interval)
    assert mean(1.0, 0.0) == (0.5, None) and mean(1.0, None) is None
    assert mean(1.0, 0.0, 0.0, 1.0, names="aaab") == (pytest.approx(2 / 3), None), "a dataset counts once"
    main(["validate_recommend", *map(str, paths)])
    out = capsys.readouterr().out
    assert "ImageNet top-1" in out and "[1.00, 1.00]" in out
    assert out.splitlines()[-2].split()[:2] == ["mean", "3"]


def test_folders_differ_by_their_test_images() -> None:
    order, split = {"a": 0.5, "b": 0.6, "c": 0.7}, {"kind": "clean", "test_fingerprint": "y"}
    first, second = (recommendation("folder", order), {**recommendation("folder", order), "test_fingerprint": "y"})
    agreements = agreement.validate(
        [first, second], finetuned("folder", order) + finetuned("folder", order, split=split)
    )
    assert [one.tau["other_datasets"] for one in agreements] == pytest.approx([1, 1])
    printed = agreement.format_agreements(agreements)
    assert "three datasets or more, not 2" in printed
    old = {key: value for key, value in first.items() if key != "test_fingerprint"} | {"split": "z"}
    for fingerprint, enough in (("z", True), ("w", False)):
        runs = finetuned("folder", order, split={"fingerprint": fingerprint, "test_fingerprint": ""})
        if enough:
            assert len(agreement.validate([old], runs)) == 1
        else:
            with pytest.raises(UserError, match="nothing to validate"):
                agreement.validate([old], runs)


def test_other_datasets_exclude_the_same_one() -> None:
    order = {"a": 0.5, "b": 0.6, "c": 0.7}
    (one, again) = agreement.validate(
        [recommendation("one", order), recommendation("one", order)], finetuned("one", order)
    )
    assert one.tau["other_datasets"] is None and again.tau["other_datasets"] is None


def test_user_errors(capsys: pytest.CaptureFixture) -> None:
    pair = {"a": 0.5, "b": 0.6}
    with pytest.raises(UserError, match=r"3 or more of its backbones .* one 2"):
        agreement.validate([recommendation("one", pair)], finetuned("one", pair))
    with pytest.raises(UserError, match=r"a run of b on one cannot be used: .* its top1 is nan, not a finite number"):
        agreement.validate([recommendation("one", pair)], finetuned("one", pair | {"b": float("nan")}))
    Path("other.json").write_text('{"some": "thing"}')
    Path("binary.json").write_bytes(b"\xff")
    for i, rows in enumerate(("abc", [{}], {"a": 1}, [])):
        Path(f"rows{i}.json").write_text(json.dumps({"dataset": "one", "backbones": rows}))
    Path("test.json").write_text('{"dataset": "one", "test": {"top1": 1}}')
    for path, message in (
        ("nowhere", "no file or folder nowhere"),
        ("other.json", "other.json is neither a recommendation"),
        ("binary.json", "binary.json is neither a recommendation"),
        *((f"rows{i}.json", f"rows{i}.json is neither a recommendation") for i in range(4)),
        ("test.json", "test.json is neither a recommendation"),
    ):
        with pytest.raises(SystemExit) as end:
            main(["validate_recommend", path])
        assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_repeated_run_counts_once() -> None:
    runs = finetuned("one", {"a": 0.45, "b": 0.9, "c": 0.8}) + 2 * finetuned("one", {"b": 0.1}, seed=1)
    (found,) = agreement.validate([recommendation("one", {"a": 0.5, "b": 0.6, "c": 0.7})], runs)
    assert found.tau["score"] == pytest.approx(1)


def test_settings_are_not_averaged() -> None:
    """The best on validation counts, whatever it scores on test; what does not count is named."""
    order = {"a": 0.5, "b": 0.6, "c": 0.7}
    runs = finetuned("one", {"a": 0.5, "c": 0.7}, steps_per_epoch=5) + finetuned("one", {"b": 0.62})
    runs += finetuned("one", {"b": 0.58}, seed=1)  # the mean of both seeds is 0.6
    runs += finetuned("one", {"b": 0.95}, lr=3e-4, best={"val_top1": 0.1})
    (found,) = agreement.validate([recommendation("one", order)], runs)
    assert found.tau["score"] == pytest.approx(1), "with the third, b would be the first"
    left_out, differ = found.notes
    assert left_out.startswith(
        "one, b: the best of 2 settings on validation, rate by hand; 2 of its runs count (32x32, "
    )
    assert left_out.endswith(", label smoothing 0), 1 of other settings, or repeats, do not")
    assert (
        differ.startswith("one: size, epochs or recipe differ: a, c 32x32, 4 epochs, ")
        and "; b 32x32, 2 epochs, " in differ
    )
    assert agreement.format_agreements([found]).endswith(f"{left_out}\n{differ}")
