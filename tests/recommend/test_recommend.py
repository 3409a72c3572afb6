"""Which backbone: on folders whose answer is known, and on some without any; and how well that has served."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mistakes import mistake
from PIL import Image, ImageDraw
from sklearn.metrics import balanced_accuracy_score

from common.__main__ import main
from common.data.loader import Batches
from common.errors import UserError
from common.models import build
from common.recommend import finals, material, price, ranking, recommend, validate, words
from common.statistics import paired
from common.transfer import features
from common.transfer.features import Features

TINY = ["timm:test_resnet", "timm:test_efficientnet", "timm:test_vit"]
SMALL = ["--weights", "none", "--image_size", "32", "--offline", "--precision", "fp32"]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prices are not measured."""
    monkeypatch.setattr(price, "_measure", lambda *_: price.Price(1_000, 2_000, 0.5, 10**9))


def folder(name: str, classes: dict[str, int], draw) -> str:
    """Class folders of 64 x 64 pictures; `draw(picture, dice, class, i)` paints them."""
    dice = np.random.default_rng(0)
    for c, (label, n) in enumerate(classes.items()):
        Path(name, label).mkdir(parents=True)
        for i in range(n):
            image = Image.fromarray(dice.integers(0, 256, (64, 64, 3), np.uint8))
            draw(ImageDraw.Draw(image), dice, c, i)
            image.save(Path(name, label, f"{label}_{i}.png"))
    return name


def shape(paint: ImageDraw.ImageDraw, dice: np.random.Generator, c: int, i: int) -> None:
    """A disc, square, triangle or cross of any colour, size and place."""
    paint.rectangle((0, 0, 64, 64), tuple(dice.integers(0, 256, 3)))
    (x, y), r, colour = dice.integers(20, 44, 2), dice.integers(10, 20), tuple(dice.integers(0, 256, 3))
    if c == 0:
        paint.ellipse((x - r, y - r, x + r, y + r), colour)
    elif c == 1:
        paint.rectangle((x - r, y - r, x + r, y + r), colour)
    elif c == 2:
        paint.polygon((x, y - r, x - r, y + r, x + r, y + r), colour)
    else:
        paint.line((x - r, y, x + r, y), colour, 5)
        paint.line((x, y - r, x, y + r), colour, 5)


def nothing(*_: object) -> None:
    """Noise, whatever the class."""


def answered(*options: str) -> dict:
    main(["recommend", *options, "--out", "answer.json"])
    answer = json.loads(Path("answer.json").read_text())
    Path("answer.json").unlink()
    return answer


def test_imagenet_weights_beat_random_ones(capsys: pytest.CaptureFixture, free: None) -> None:
    data = folder("shapes", {"disc": 40, "square": 40, "triangle": 40, "cross": 40}, shape)
    models = ["mobilenet", "efficientnet_lite0", "timm:test_resnet"]
    answer = answered(
        "--data_dir", data, "-model", *models, "--random_missing", "--image_size", "64", "--offline"
    )
    first, *others = answer["backbones"]
    assert (first["backbone"], first["weights"]) == ("efficientnet_lite0", "imagenet")
    assert first["p_best"] > 0.99 and not any(row["tied"] or row["equivalent"] for row in others)
    assert {row["weights"] for row in others} == {"none"}
    assert (answer["images"], answer["held_out"], answer["metric"], answer["folds"]) == (128, 32, "top1", 5)
    told = capsys.readouterr()
    assert "32 test images held out" in told.out and "random" in told.out
    assert "Take efficientnet_lite0: top-1" in told.out and "nothing cheaper is as good" in told.out
    assert told.err.count("probe top-1") == 3 and "(random weights)" in told.err


def test_noise_is_no_answer(capsys: pytest.CaptureFixture, free: None) -> None:
    data = folder("noise", {"a": 40, "b": 40}, nothing)
    answer = answered("--data_dir", data, "-model", *TINY, *SMALL)
    assert all(row["tied"] for row in answer["backbones"])
    assert max(row["p_best"] for row in answer["backbones"]) < 0.99
    assert "All 3 are equal within the noise of 64 images" in capsys.readouterr().out


def crafted(good: str, per_second: float = 100.0):
    """A network whose features tell the classes apart, among others that see noise."""

    def made(extractor, images, rows, native) -> Features:
        row = extractor.backbone
        dice = np.random.default_rng(len(row.name))
        labels = np.asarray([Path(images[i]).parent.name == "b" for i in rows])
        values = dice.normal(size=(len(rows), 16)).astype(np.float32)
        values[:, 0] += 10.0 * labels * (row.name == good)
        return Features(values, per_second)

    return made


def test_decisive_features_are_found(monkeypatch: pytest.MonkeyPatch, free: None) -> None:
    data = folder("noise", {"a": 30, "b": 30}, nothing)
    for good in TINY:
        monkeypatch.setattr(recommend, "cached_features", crafted(good))
        first, *others = answered("--data_dir", data, "-model", *TINY, *SMALL)["backbones"]
        assert first["backbone"] == good and first["score"] == 1 and first["knn"] > 0.8
        assert all(first[score] > max(row[score] for row in others) for score in ("logme", "h_score"))
        assert not any(row["tied"] for row in others)


def test_a_budget_drops_the_hopeless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, free: None
) -> None:
    data = folder("noise", {"a": 200, "b": 200}, nothing)
    monkeypatch.setattr(recommend, "cached_features", crafted(TINY[1], per_second=1.0))
    options = ("--data_dir", data, "-model", *TINY, *SMALL)
    answer = answered(*options, "--budget", "20m")  # 40 images seen, 3 x (280 + prices) seconds to go
    assert [row["backbone"] for row in answer["backbones"]] == [TINY[1]]
    assert {row["name"] for row in answer["dropped"]} == {TINY[0], TINY[2]}
    assert {row["images"] for row in answer["dropped"]} == {40, 80} and answer["images"] == 320
    assert "is dropped: probe top-1" in capsys.readouterr().err
    monkeypatch.setattr(recommend, "cached_features", crafted(TINY[1], per_second=0.1))
    answer = answered(*options, "--budget", "5m")  # a second look would take 2 x 400 seconds
    assert answer["images"] == 40 and answer["of"] == 320 and len(answer["dropped"]) == 1
    assert "the budget allows only 40 of 320 images" in capsys.readouterr().err
    assert len(answered(*options, "--budget", "10h")["backbones"]) == 3


def test_no_price_is_measured_when_the_budget_is_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data = folder("noise", {"a": 200, "b": 200}, nothing)
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    monkeypatch.setattr(price, "step_times", lambda *_: {"step_seconds": 0.5})
    now, seen = 0.0, crafted(TINY[1])

    def slow(*args) -> Features:
        nonlocal now
        now += 100
        return seen(*args)

    monkeypatch.setattr(recommend, "cached_features", slow)
    monkeypatch.setattr(recommend, "time", SimpleNamespace(perf_counter=lambda: now))
    answer = answered(*options, "--budget", "150s")
    (row,) = answer["backbones"]  # the other is dropped
    assert row["parameters"] > 0 and row["macs"] > 0
    assert row["training_seconds"] is None and row["peak_memory_bytes"] is None
    assert "-: not measured" in capsys.readouterr().out
    assert all(row["training_seconds"] for row in answered(*options)["backbones"])
    (row,) = answered(*options, "--budget", "150s")["backbones"]
    assert row["training_seconds"], "remembered, it takes no time"


def test_what_was_not_measured_is_not_called_cheaper() -> None:
    def told(*seconds: float | None) -> str:
        rows = [
            {
                "backbone": name, "weights": "imagenet", "score": score, "interval": (0.8, 0.9), "p_best": 0.5,
                "behind": 0.85 - score, "behind_interval": (-0.01, 0.01), "tied": name != "c", "equivalent": False,
                "training_seconds": took, "macs": 10**9 * (3 - place),
            }
            for place, (name, score, took) in enumerate(zip("abc", (0.85, 0.84, 0.7), seconds, strict=True))
        ]  # fmt: skip
        return words.advice({"metric": "top1", "images": 100, "backbones": rows})

    assert "cheaper and perhaps as good: b (training about 10 s instead of training about 60 s)" in told(
        60, 10, 5
    )
    assert "nothing cheaper is as good" in told(60, 59, 5)
    assert "not measured" in told(None, 10, 5) and "instead of" not in told(None, 10, 5)
    for seconds in ((60, None, None), (None, None, None)):
        assert "whether something cheaper is as good was not measured" in told(*seconds)


def test_equal_ones_are_the_cheapest_as_far_as_was_measured() -> None:
    def told(*seconds: float | None) -> str:
        rows = [
            {
                "backbone": name, "weights": "imagenet", "score": 0.85, "interval": (0.8, 0.9), "p_best": 0.5, "behind": 0.0,
                "behind_interval": (-0.01, 0.01), "tied": name != "a", "equivalent": True, "training_seconds": took, "macs": macs * 10**9,
            }
            for name, took, macs in zip("ab", seconds, (4, 1), strict=True)
        ]  # fmt: skip
        return words.advice({"metric": "top1", "images": 100, "backbones": rows})

    assert "take the cheapest, a (training about 50 s)" in told(50, 60)
    assert "take the one with the fewest operations, b (1.00 GMACs, training not measured)" in told(50, None)


def test_a_price_that_did_not_fit_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    def cost(measured: bool) -> price.Price:
        row, cpu = build.get_backbone(TINY[0]), torch.device("cpu")
        return price.price(row, 2, (32, 32), 8, cpu, "a machine", "fp32", measured)

    def full(*_: object) -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(price, "step_times", full)
    assert cost(measured=True).step_seconds is None
    monkeypatch.setattr(price, "step_times", lambda *_: {"step_seconds": 0.5})
    assert cost(measured=False).step_seconds is None
    assert cost(measured=True).step_seconds == cost(measured=False).step_seconds == 0.5


def test_looks_in_large_groups() -> None:
    """A group that covers the first two shares: the second look has nothing new; one of too few groups waits."""
    groups = np.array([0] * 6 + [1] * 3 + [2] * 3 + [3])
    parts = [[0, 1, 2], [0, 1, 2], [0, 1, 2, 6, 7], [0, 1, 2, 6, 7, 9], [*range(13)]]
    looks = material._added(parts, groups)
    assert [look.tolist() for look in looks] == [[0, 1, 2, 6, 7, 9], [3, 4, 5, 8, 10, 11, 12]]
    assert [len(look) for look in material._added(parts, None)] == [3, 2, 1, 7]


def test_groups_under_a_budget(free: None) -> None:
    """Three patients have three quarters of the images."""
    data = folder("patients", {"a": 200, "b": 200}, nothing)
    for label in "ab":
        for path in Path(data, label).glob("*.png"):
            i = int(path.stem.split("_")[1])
            path.rename(path.with_name(f"p{i // 50 if i < 150 else i // 10}_{i}.png"))
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL, "--group_by", r"/(p\d+)_", "--budget", "10h")
    assert answered(*options)["groups"] >= 3


def test_the_answer_has_a_place_before_the_work(capsys: pytest.CaptureFixture) -> None:
    data = folder("noise", {"a": 4, "b": 4}, nothing)
    for words_of in (["recommend", "--data_dir", data], ["bench"], ["check", data]):
        with pytest.raises(SystemExit) as stop:
            main([*words_of, "--out", "nowhere/answer.json"])
        assert stop.value.code == 2 and "no folder nowhere for answer.json" in capsys.readouterr().err


def test_an_answer_outlives_its_finals(monkeypatch: pytest.MonkeyPatch, free: None) -> None:
    def fails(*_: object) -> None:
        raise UserError("a run ended badly")

    monkeypatch.setattr(finals, "play", fails)
    data = folder("noise", {"a": 20, "b": 20}, nothing)
    with pytest.raises(SystemExit) as stop:
        main(
            [
                "recommend",
                "--data_dir",
                data,
                "-model",
                *TINY[:2],
                *SMALL,
                "--finetune",
                "2",
                "--out",
                "a.json",
            ]
        )
    assert stop.value.code == 2 and len(json.loads(Path("a.json").read_text())["backbones"]) == 2


def test_a_second_run_computes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder("noise", {"a": 20, "b": 20}, nothing)
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    once = answered(*options)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("computed again")

    for module, name in ((features, "forward_features"), (price, "_measure"), (recommend, "_scores")):
        monkeypatch.setattr(module, name, never)
    again = answered(*options)
    assert again["backbones"] == once["backbones"]
    with pytest.raises(AssertionError, match="computed again"):  # another seed, other random weights
        answered(*options, "--seed", "1")
    image = next(Path(data).rglob("*.png"))
    Image.new("RGB", (64, 64), "red").save(image)
    with pytest.raises(AssertionError, match="computed again"):
        answered(*options)


def test_groups_stay_whole(free: None) -> None:
    """Every group has a colour, and a class by chance: who tears groups apart takes colours for classes."""
    colours = np.random.default_rng(3).integers(0, 256, (80, 3))

    def draw(paint, dice, c: int, i: int) -> None:
        paint.rectangle((0, 0, 64, 64), tuple(colours[40 * c + i // 4]))

    data = folder("groups", {"a": 160, "b": 160}, draw)
    for label in "ab":
        for path in Path(data, label).glob("*.png"):
            i = int(path.stem.split("_")[1])
            path.rename(path.with_name(f"p{label}{i // 4}_{i}.png"))
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    torn = answered(*options)["backbones"][0]
    answer = answered(*options, "--group_by", r"/(p\w\d+)_")
    assert torn["score"] > 0.9 and answer["backbones"][0]["score"] < 0.7
    assert answer["groups"] == 64  # of 80: a fifth is held out, whole
    low, high = answer["backbones"][0]["interval"]
    assert high - low > 0.15  # of 64 groups, not of 256 images


def test_classes_out_of_balance(capsys: pytest.CaptureFixture, free: None) -> None:
    data = folder("skewed", {"a": 90, "b": 10}, nothing)
    answer = answered("--data_dir", data, "-model", *TINY[:2], *SMALL)
    assert answer["metric"] == "balanced_accuracy" and answer["largest_class"] == 0.9
    assert all(abs(row["score"] - 0.5) < 0.3 for row in answer["backbones"])
    assert "the largest class has 90.0 % of the images" in capsys.readouterr().out


def test_fewer_images(free: None) -> None:
    data = folder("noise", {"a": 50, "b": 50}, nothing)
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL)
    limited = answered(*options, "--limit", "20")
    assert limited["images"] == 20 and limited["of"] == 80 and limited["held_out"] == 20
    assert answered(*options, "--shots", "9")["images"] == 2 * (9 + 1)  # validation shrinks along


def test_missing_weights_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, free: None
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    data = folder("noise", {"a": 10, "b": 10}, nothing)
    options = (
        "--data_dir",
        data,
        "-model",
        "resnet",
        "efficientnet_lite0",
        "--image_size",
        "32",
        "--offline",
    )
    answer = answered(*options)
    assert [row["backbone"] for row in answer["backbones"]] == ["efficientnet_lite0"]
    assert "resnet50-11ad3fa6.pth" in answer["left_out"]["resnet50"]
    told = capsys.readouterr().out
    assert "left out, for the reasons above: resnet50" in told and "nothing to compare it with" in told


def test_a_network_that_needs_more_pixels_gets_more(free: None) -> None:
    data = folder("noise", {"a": 6, "b": 6}, nothing)
    (row,) = answered("--data_dir", data, "-model", "inception", *SMALL)["backbones"]
    assert row["size"] == [96, 96]


def test_finals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, free: None) -> None:
    """The held-out images decide, by runs of the sheet's own script on the very same split, groups whole."""
    monkeypatch.setattr(finals, "SEARCH", ("--lr", "1e-3", "--epochs", "1"))
    data = folder("noise", {"a": 20, "b": 20}, nothing)
    few = ("--group_by", r"_(\d)", "--shots", "8")
    options = ("--data_dir", data, "-model", *TINY[:2], *SMALL, *few, "--finetune", "2")
    answer = answered(*options)
    played = answer["finals"]
    assert sorted(played["runs"]) == sorted(TINY[:2]) and played["test_images"] == answer["held_out"]
    for name, run in played["runs"].items():
        result = json.loads(Path(run, "result.json").read_text())
        assert result["backbone"] == name and result["split"]["fingerprint"] == answer["split"]
        (row,) = (row for row in played["backbones"] if row["name"] == name)
        assert row["score"] == pytest.approx(result["test"]["top1"]["value"])
    told = capsys.readouterr()
    assert "test images, one seed each" in told.out and "fine-tuned" not in told.out.split("Fine-tuned")[0]
    assert told.err.count(" from scratch: ") == 2


def test_finals_that_broke_off_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, free: None
) -> None:
    """The same command takes its own unfinished answer and run folders again; another one is refused."""
    monkeypatch.setattr(finals, "SEARCH", ("--lr", "1e-3", "--epochs", "1"))
    data = folder("noise", {"a": 20, "b": 20}, nothing)
    run, calls = subprocess.run, []

    def breaks(command: list[str], **how: object) -> subprocess.CompletedProcess:
        calls.append(command)
        if len(calls) == 2:
            raise KeyboardInterrupt(signal.SIGTERM)
        return run(command, **how)

    command = ["recommend", data, "-model", *TINY[:2], *SMALL, "--finetune", "2", "--out", "a.json"]
    with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
        patch.setattr(finals, "subprocess", SimpleNamespace(run=breaks, PIPE=subprocess.PIPE))
        main(command)
    assert end.value.code == 128 + signal.SIGTERM
    assert "stopped; run the same command to continue" in capsys.readouterr().err
    assert json.loads(Path("a.json").read_text())["finals"] is None
    with monkeypatch.context() as patch, pytest.raises(SystemExit):
        patch.setattr(sys, "argv", ["another"])
        main(command)
    assert "a.json exists already" in capsys.readouterr().err
    main(command)
    told = capsys.readouterr()
    assert "1 of 2, is fine-tuned already" in told.err and "2 of 2" in told.err and "P(best)" in told.out
    assert sorted(json.loads(Path("a.json").read_text())["finals"]["runs"]) == sorted(TINY[:2])


def test_a_dataset_of_ours(free: None) -> None:
    answer = answered("digits", "-model", *TINY[:2], *SMALL, "--limit", "100")
    assert answer["dataset"] == "digits" and answer["classes"] == 10 and answer["held_out"] == 364


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "no data: name a dataset"),
        (["eurosatt"], "did you mean 'eurosat'?"),
        (["--data_dir", "nowhere"], "no data in nowhere (not found)"),
        (["--data_dir", "images", "-model", "resnt50"], "did you mean 'resnet50'?"),
        (["--data_dir", "images", "--budget", "soon"], "'soon' is not a duration: expected 90s, 10m or 2h"),
        (["--data_dir", "images", "--finetune", "1"], "--finetune 1: expected 2 or more"),
        (["--data_dir", "images", "--limit", "0"], "--limit 0: expected 1 or more"),
        (["--data_dir", "images", "--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--data_dir", "images", "--out", "images"], "images exists already"),
        (["--data_dir", "images", "--offline", "-model", "swin"], "no backbone's weights are available"),
    ],
)
def test_mistakes(tmp_path: Path, class_tree, options: list[str], says: str) -> None:
    class_tree()
    (tmp_path / "run.py").write_text("import sys\nfrom common.__main__ import main\nmain(sys.argv[1:])\n")
    assert says in mistake(tmp_path, tmp_path / "run.py", "recommend", *options)


def test_groups_that_do_not_suffice(class_tree, capsys: pytest.CaptureFixture) -> None:
    options = ["--data_dir", str(class_tree()), "-model", TINY[0], *SMALL]
    for pattern, says in (
        ("(", "not a valid regular expression"),
        ("x+", "does not match"),
        ("a|b|c", "no image in"),
    ):
        with pytest.raises(SystemExit):
            main(["recommend", *options, "--group_by", pattern])
        assert says in capsys.readouterr().err


def test_the_order_and_how_sure_it_is() -> None:
    dice = np.random.default_rng(0)
    labels = dice.integers(0, 3, 400)
    predicted = np.where(dice.random((4, 400)) < [[0.7], [0.9], [0.89], [0.5]], labels, (labels + 1) % 3)
    order = ranking.rank(list("abcd"), predicted, labels, "top1", 0)
    assert [one.name for one in order[:2]] in (["b", "c"], ["c", "b"]) and order[3].name == "d"
    assert sum(one.p_best for one in order) == pytest.approx(1)
    assert [one.tied for one in order] == [True, True, False, False]
    right = dict(zip("abcd", predicted == labels, strict=True))
    for one in order:
        other = paired.paired_bootstrap(right[order[0].name], right[one.name])
        assert one.behind == pytest.approx(other.difference)
        assert one.behind_interval == pytest.approx((other.low, other.high), abs=0.006)
    balanced = ranking.rank(list("abcd"), predicted, labels, "balanced_accuracy", 0)
    for one in balanced:
        assert one.score == pytest.approx(balanced_accuracy_score(labels, predicted["abcd".index(one.name)]))
    same = ranking.rank(["x", "y"], predicted[:1].repeat(2, 0), labels, "top1", 0)
    assert same[1].equivalent and same[1].tied and [one.p_best for one in same] == [0.5, 0.5]
    doubled = ranking.rank(
        list("abcd"), predicted.repeat(4, 1), labels.repeat(4), "top1", 0, np.arange(400).repeat(4)
    )
    assert doubled[0].interval == pytest.approx(order[0].interval, abs=0.005)  # four of a kind tell no more


def told(dataset: str, scores: dict[str, float]) -> dict:
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


def tuned(dataset: str, scores: dict[str, float], **more) -> list[dict]:
    return [
        {"dataset": dataset, "backbone": name, "weights": "pip:...", "protocol": "clean", "subset": False, "shots": None,
         "fraction": None, "fold": None, "split": {"kind": "clean", "test_fingerprint": "x"}, "preprocess": {"size": [32, 32]},
         "test": {"top1": {"value": s}}, **more}
        for name, s in scores.items()
    ]  # fmt: skip


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any name is one of the table."""
    monkeypatch.setattr(validate.build, "get_backbone", lambda name: SimpleNamespace(weights="pip:..."))


def test_validation(tmp_path: Path, capsys: pytest.CaptureFixture, known: None) -> None:
    order = {"a": 0.5, "b": 0.6, "c": 0.7, "d": 0.9}
    Path("answers").mkdir()
    for dataset in ("one", "two", "three"):
        Path(f"{dataset}.json").write_text(json.dumps(told(dataset, order)))
    runs = [run for dataset in ("one", "two", "three") for run in tuned(dataset, order)]
    paper, other = {"kind": "paper", "test_fingerprint": "x"}, {"kind": "clean", "test_fingerprint": "y"}
    for more in (
        {"protocol": "paper"}, {"weights": "none"}, {"weights": "mine.pth"}, {"split": paper}, {"split": other},
    ):  # fmt: skip
        runs += tuned("one", {"a": 0.99}, **more)  # not comparable
    Path("runs.jsonl").write_text("\n".join(map(json.dumps, runs)))
    paths = [Path(name) for name in ("one.json", "two.json", "three.json", "runs.jsonl")]
    agreements = validate.validate(*validate.read(paths))
    for one in agreements:
        assert (
            one.backbones == 4
            and one.tau["score"] == pytest.approx(1)
            and one.tau["knn"] == pytest.approx(-1)
        )
        assert one.tau["elsewhere"] == pytest.approx(1)

    def mean(*taus: float | None, names: str = "abcdef") -> object:
        agreements = [
            validate.Agreement(name, "x", 3, {"score": tau}) for name, tau in zip(names, taus, strict=False)
        ]
        return validate.mean(agreements, "score")

    assert mean(1.0, 0.0, 0.5) == (
        0.5,
        pytest.approx((-0.742, 1.0), abs=1e-3),
    )  # t of 2 is 4.303; a tau is at most 1
    assert mean(1.0, 0.0) == (0.5, None) and mean(1.0, None) is None
    assert mean(1.0, 0.0, 0.0, 1.0, names="aaab") == (pytest.approx(2 / 3), None), "a dataset counts once"
    main(["validate_recommend", *map(str, paths)])
    out = capsys.readouterr().out
    assert (
        "ImageNet top-1" in out
        and "[1.00, 1.00]" in out
        and out.splitlines()[-2].split()[:2] == ["mean", "3"]
    )


def test_folders_are_told_apart_by_their_test_images(known: None) -> None:
    order, split = {"a": 0.5, "b": 0.6, "c": 0.7}, {"kind": "clean", "test_fingerprint": "y"}
    mine, yours = told("folder", order), {**told("folder", order), "test_fingerprint": "y"}
    agreements = validate.validate(
        [mine, yours], tuned("folder", order) + tuned("folder", order, split=split)
    )
    assert [one.tau["elsewhere"] for one in agreements] == pytest.approx([1, 1])
    shown = words.agreements(agreements, dict.fromkeys(validate.SCORES), validate.SCORES)
    assert "2 dataset(s), at least three needed" in shown
    old = {key: value for key, value in mine.items() if key != "test_fingerprint"} | {"split": "z"}
    for fingerprint, enough in (("z", True), ("w", False)):
        runs = tuned("folder", order, split={"kind": "clean", "fingerprint": fingerprint})
        if enough:
            assert len(validate.validate([old], runs)) == 1
        else:
            with pytest.raises(UserError, match="nothing to validate"):
                validate.validate([old], runs)


def test_elsewhere_is_another_dataset(known: None) -> None:
    order = {"a": 0.5, "b": 0.6, "c": 0.7}
    (one, again) = validate.validate([told("one", order), told("one", order)], tuned("one", order))
    assert one.tau["elsewhere"] is None and again.tau["elsewhere"] is None


def test_validation_needs_an_order(capsys: pytest.CaptureFixture, known: None) -> None:
    pair = {"a": 0.5, "b": 0.6}
    with pytest.raises(UserError, match=r"a dataset needs .* one 2"):
        validate.validate([told("one", pair)], tuned("one", pair))
    Path("other.json").write_text('{"some": "thing"}')
    for path, says in (("nowhere", "no file or folder nowhere"), ("other.json", "neither a recommendation")):
        with pytest.raises(SystemExit) as stop:
            main(["validate_recommend", path])
        assert stop.value.code == 2 and says in capsys.readouterr().err


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v3_large", "shufflenet_v2_x2_0", "efficientnet_lite0", "timm:test_vit", "timm:test_convnext"],
)
def test_features_are_what_the_head_is_given(name: str) -> None:
    row = build.get_backbone(name)
    torch.manual_seed(0)
    net = build.create_model(row, 7, None).eval()
    head, images = net.get_submodule(row.head), torch.randn(2, 3, *row.fitting((64, 64)))
    with torch.inference_mode():
        expected = net(images)
        assert torch.equal(head(features.remove_head(net, row.head)(images)), expected)


def test_a_batch_is_halved_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    row = build.get_backbone(TINY[0])
    preprocess = row.preprocess((32, 32))
    pixels = np.random.default_rng(0).integers(0, 256, (10, 32, 32, 3), np.uint8)
    batches = Batches(
        pixels=pixels, indices=np.arange(10), labels=np.zeros(10, int), preprocess=preprocess, batch_size=16,
        device=torch.device("cpu"),
    )  # fmt: skip
    torch.manual_seed(0)
    net = build.create_model(row, 2, None)
    whole = features.forward_features(net, row, batches, "fp32").values
    forward, tried = features._forward, []

    def tight(net, batches: Batches, title: str) -> Features:
        tried.append(batches.batch_size)
        if batches.batch_size > limit:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return forward(net, batches, title)

    monkeypatch.setattr(features, "_forward", tight)
    torch.manual_seed(0)
    net, limit = build.create_model(row, 2, None), 4
    assert np.allclose(features.forward_features(net, row, batches, "fp32").values, whole, atol=1e-5)
    assert tried == [16, 8, 4]
    limit = 0
    with pytest.raises(UserError, match="out of memory for a single image"):
        features.forward_features(build.create_model(row, 2, None), row, batches, "fp32")
