"""The agreement of recommendations with fine-tuned rankings."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from common.__main__ import main
from common.errors import UserError
from common.recommend import validate


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


def finetuned(dataset: str, scores: dict[str, float], **more) -> list[dict]:
    return [
        {"dataset": dataset, "backbone": name, "weights": "pip:...", "protocol": "clean", "subset": False, "shots": None,
         "fraction": None, "fold": None, "split": {"kind": "clean", "test_fingerprint": "x"}, "preprocess": {"size": [32, 32]},
         "test": {"top1": {"value": s}}, **more}
        for name, s in scores.items()
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _any_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name is a backbone's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(validate.build, "get_backbone", lambda name: SimpleNamespace(weights="pip:..."))


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
    agreements = validate.validate(*validate.read(paths))
    for one in agreements:
        assert one.backbones == 4
        assert one.tau["score"] == pytest.approx(1) and one.tau["knn"] == pytest.approx(-1)
        assert one.tau["other_datasets"] == pytest.approx(1)

    def mean(*taus: float | None, names: str = "abcdef") -> object:
        agreements = [validate.Agreement(name, "x", 3, {"score": tau}) for name, tau in zip(names, taus, strict=False)]
        return validate.mean(agreements, "score")

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
    agreements = validate.validate(
        [first, second], finetuned("folder", order) + finetuned("folder", order, split=split)
    )
    assert [one.tau["other_datasets"] for one in agreements] == pytest.approx([1, 1])
    printed = validate.format_agreements(agreements)
    assert "three datasets or more, not 2" in printed
    old = {key: value for key, value in first.items() if key != "test_fingerprint"} | {"split": "z"}
    for fingerprint, enough in (("z", True), ("w", False)):
        runs = finetuned("folder", order, split={"kind": "clean", "fingerprint": fingerprint})
        if enough:
            assert len(validate.validate([old], runs)) == 1
        else:
            with pytest.raises(UserError, match="nothing to validate"):
                validate.validate([old], runs)


def test_other_datasets_exclude_the_same_one() -> None:
    order = {"a": 0.5, "b": 0.6, "c": 0.7}
    (one, again) = validate.validate(
        [recommendation("one", order), recommendation("one", order)], finetuned("one", order)
    )
    assert one.tau["other_datasets"] is None and again.tau["other_datasets"] is None


def test_user_errors(capsys: pytest.CaptureFixture) -> None:
    pair = {"a": 0.5, "b": 0.6}
    with pytest.raises(UserError, match=r"3 or more of its backbones .* one 2"):
        validate.validate([recommendation("one", pair)], finetuned("one", pair))
    with pytest.raises(UserError, match="b on one: a fine-tuned score is nan, not a finite number"):
        validate.validate([recommendation("one", pair)], finetuned("one", pair | {"b": float("nan")}))
    Path("other.json").write_text('{"some": "thing"}')
    for path, message in (("nowhere", "no file or folder nowhere"), ("other.json", "neither a recommendation")):
        with pytest.raises(SystemExit) as end:
            main(["validate_recommend", path])
        assert end.value.code == 2 and message in capsys.readouterr().err


def test_a_repeated_run_counts_once() -> None:
    runs = finetuned("one", {"a": 0.45, "b": 0.9, "c": 0.8}) + 2 * finetuned("one", {"b": 0.1})
    (agreement,) = validate.validate([recommendation("one", {"a": 0.5, "b": 0.6, "c": 0.7})], runs)
    assert agreement.tau["score"] == pytest.approx(1)
