"""A user's folder from the command line: the run, `check` and `recommend` understand it alike; names are printed safely."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from miniatures import picture
from test_image_folder import CASES, add
from tiny import TINY

import folder
import food101
from common import main
from common.__main__ import main as command
from common.cli.parse import make_config, parse
from common.data.dataset import load_dataset, read_samples
from common.errors import UserError, printable
from common.models.build import get_backbone


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def of_run(*options: str) -> list[str]:
    """What a run would use: the counts of its parts, and its line about the data; or its error."""
    lines: list[str] = []
    config = make_config((folder.DATASET,), parse((folder.DATASET,), [*options, *TINY]))
    preprocess = get_backbone(config.model).preprocess(config.image_size)
    try:
        data = load_dataset(config, preprocess, lambda record: lines.append(record["data"]))
    except UserError as error:
        return [f"counts: {error}"]
    parts = ((name, getattr(data.split, name)) for name in ("train", "val", "test"))
    return [", ".join(f"{len(part):,} {name}" for name, part in parts if part), *lines]


def of_check(capsys: pytest.CaptureFixture, *options: str) -> str:
    capsys.readouterr()
    try:
        command(["check", *options])
    except SystemExit:
        return capsys.readouterr().err.replace("error:", "counts:")
    return capsys.readouterr().out


@pytest.mark.slow
def test_check_agrees_with_the_run_on_the_shared_cases(tmp_path: Path, capsys) -> None:
    if not CASES.is_dir():
        pytest.skip(f"no cases in {CASES}")
    subprocess.run([sys.executable, CASES / "make.py", "cases"], check=True)
    for case in sorted(Path("cases").iterdir()):
        options = ["--labels", "labels.csv"] if case.name == "label_table" else []
        checked = of_check(capsys, str(case), *options)
        counts, *lines = of_run("--data_dir", str(case), *options)
        assert printable(counts) in checked, case
        for line in lines:  # the layout, then caveats
            assert all(piece in checked for piece in line.split("; ")), case


@pytest.mark.parametrize(
    ("names", "options"),
    [
        (("Train/cat/{9}.jpg", "Train/dog/{9}.jpg", "Val/cat/{4}.jpg", "Val/dog/{4}.jpg"), ()),
        (("train/cat/{9}.jpg", "train/dog/{9}.jpg", "valid/cat/{4}.jpg", "test/cat/{4}.jpg"), ()),
        (("cat/{20}.jpg", "dog/{20}.jpg", "odd/{2}.jpg"), ()),
        (("cat/{20}.jpg", "dog/{20}.jpg", "odd/0.jpg"), ()),
        (("cat/{20}.jpg", "dog/{20}.jpg", "odd/0.jpg"), ("--min_images", "3")),
        (("{20}.jpg",), ("--labels", "labels.csv")),
    ],
)
def test_check_agrees_with_the_run(tmp_path: Path, capsys, names: tuple[str, ...], options: tuple[str, ...]) -> None:
    add(Path("photos"), *names)
    if "--labels" in options:
        rows = "".join(f"{i},{'ab'[i % 2]}\n" for i in range(18))
        Path("photos/labels.csv").write_text(f"image,label\n{rows}")
    checked = of_check(capsys, "photos", *options)
    for text in of_run("--data_dir", "photos", *options):
        assert all(piece in checked for piece in text.split("; "))


def test_a_run_without_a_class_in_test(tmp_path: Path, capsys) -> None:
    add(
        Path("photos"),
        "train/cat/{16}.jpg",
        "train/dog/{16}.jpg",
        "val/cat/{4}.jpg",
        "val/dog/{4}.jpg",
        "test/cat/{8}.jpg",
    )
    Path("photos/notes.txt").touch()
    main(folder.DATASET, ["--data_dir", "photos", *TINY, "--out", "run"])
    text = capsys.readouterr()
    first, *_ = text.err.splitlines()
    assert first.startswith(
        "train/ 32, val/ 8, test/ 8; 2 classes; 1 file skipped (.txt); test has no images of class 'dog'"
    )
    result = json.loads(Path("run/result.json").read_text())
    assert result["metric"] == "balanced_accuracy" and "auroc" not in result["test"]
    assert any("test has no images of class 'dog'" in caveat for caveat in result["caveats"])
    assert result["layout"]["skipped"] == {".txt": 1} and result["classes"] == 2
    assert "balanced accuracy" in text.out


def test_a_run_with_a_table(tmp_path: Path, capsys) -> None:
    add(Path("photos"), "{30}.jpg")
    rows = "".join(f"{i};{'ab'[i % 2]};p{i // 3}\n" for i in range(30))
    Path("photos/labels.csv").write_text(f"image;label;patient\n{rows}")
    main(folder.DATASET, ["--data_dir", "photos", "--labels", "labels.csv", *TINY, "--out", "run"])
    assert capsys.readouterr().err.startswith("labels.csv: 30 images; 2 classes, 10 groups")
    with open("run/split.csv", newline="") as file:
        parts = {row["path"]: row["part"] for row in csv.DictReader(file)}
    again = make_config((folder.DATASET,), parse((folder.DATASET,), ["--config", "run/options.yaml", "--out", "new"]))
    assert read_samples(again).names == sorted(parts), "the run's options name the same table"
    assert len(parts) == 30 and all(len({parts[f"{i + k}.jpg"] for k in range(3)}) == 1 for i in range(0, 30, 3))


def test_recommend_reads_the_same(tmp_path: Path, capsys) -> None:
    add(Path("photos"), "a/{12}.jpg", "b/{12}.jpg", "odd/0.jpg")
    command(
        [
            "recommend",
            "photos",
            "-model",
            "timm:test_resnet",
            "--weights",
            "none",
            "--image_size",
            "32",
            "--min_images",
            "3",
        ]
    )
    assert (
        capsys.readouterr()
        .err.splitlines()[0]
        .startswith("class folders: 24 images; 2 classes; classes with fewer than 3 images left out: odd (1)")
    )
    with pytest.raises(SystemExit):
        command(["recommend", "digits", "--min_images", "3"])
    assert "--min_images=3: Digits has its own labels" in capsys.readouterr().err


def test_lists_with_holes(tmp_path: Path) -> None:
    import miniatures

    miniatures.food101(Path("data"))
    missing = sorted(Path("data/food-101/images").rglob("*.jpg"))[0]
    missing.unlink()
    options = ["--data_dir", "data", *TINY]
    config = make_config((food101.DATASET,), parse((food101.DATASET,), [*options, "--subset"]))
    lines: list[dict] = []
    data = load_dataset(config, get_backbone(config.model).preprocess((32, 32)), lines.append)
    assert len(data.samples) == 20
    assert lines == [{"data": f"1 listed image is missing (first images/{missing.parent.name}/{missing.name})"}]
    config = make_config((food101.DATASET,), parse((food101.DATASET,), options))
    with pytest.raises(UserError, match=r"1 of 21 images missing.*--subset"):
        load_dataset(config, get_backbone(config.model).preprocess((32, 32)), lines.append)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain Ünï 猫", "plain Ünï 猫"),
        ("two\nlines\r\t", r"two\nlines\r\t"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\u202egpj.exe", r"\u202egpj.exe"),
        (b"\xff\xfe.jpg".decode("utf-8", "surrogateescape"), r"\xff\xfe.jpg"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected and "\n" not in expected


def test_check_prints_names_safely(tmp_path: Path, capsys) -> None:
    for label in ("\x1b[31mred\x1b[0m", "two\nlines", "plain"):
        for i in range(12):
            path = Path("photos", label, f"a\nb{i}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(7, (40, 40)).save(path)  # all the same: duplicates are named
    text = of_check(capsys, "photos")
    assert "\x1b" not in text and r"\x1b[31mred" in text and r"two\nlines" in text
    assert all(
        line.partition(":")[0] in ("Your folder", "layout", "classes", "exact duplicates", "summary")
        for line in text.splitlines()
    )


def test_predict_prints_names_safely(tmp_path: Path, capfd) -> None:
    add(Path("photos"), "\x1b[31mred/{12}.jpg", "plain/{12}.jpg")
    main(folder.DATASET, ["--data_dir", "photos", *TINY, "--out", "run"])
    Path("new").mkdir()
    picture(1, (8, 8)).save("new/a\nb.jpg")
    picture(1, (8, 8)).save("new/c.jpg")
    odd = Path("new/\udcff.jpg")
    Path("new/c.jpg").rename(odd)
    capfd.readouterr()
    command(["predict", "run", "new/a\nb.jpg", str(odd)])
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 2 and lines[0].startswith(r"new/a\nb.jpg: ") and lines[1].startswith(r"new/\xff.jpg: ")
    assert all(r"\x1b[31mred" in line and "\x1b" not in line for line in lines)
