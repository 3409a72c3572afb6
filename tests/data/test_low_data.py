"""Low data and split files: nested, stratified, seeded subsets of train; a run told again from its `split.csv`."""

import csv
import json
import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from miniatures import listed
from mistakes import mistake
from tiny import TINY

import folder
from common import main
from common.data.splits import split_file, splits
from common.errors import UserError
from common.spec import Samples, Split

SIZES = {"a": 30, "b": 50, "c": 200}


def reduced(samples: Samples, seed: int = 0, shots: int | None = None, fraction: float | None = None) -> Split:
    full = splits.split(folder.DATASET, samples, seed)
    return splits.reduce_train(samples, full, seed, shots, fraction)


def per_class(samples: Samples, part: tuple[int, ...]) -> list[int]:
    return [n for _, n in sorted(Counter(samples.labels[i] for i in part).items())]


def test_shots_are_exact_and_validation_shrinks_along() -> None:
    samples = listed(SIZES)
    full = reduced(samples)
    assert per_class(samples, full.train) == [21, 36, 144] and per_class(samples, full.val) == [3, 4, 16]
    for shots, val in ((1, [1, 1, 1]), (5, [1, 1, 1]), (10, [2, 2, 2]), (21, [3, 3, 3])):
        split = reduced(samples, shots=shots)
        assert per_class(samples, split.train) == [shots] * 3 and per_class(samples, split.val) == val
        assert split.test == full.test
        assert set(split.train) <= set(full.train) and set(split.val) <= set(full.val)


def test_a_fraction_is_stratified() -> None:
    samples = listed(SIZES)
    split = reduced(samples, fraction=0.1)
    assert per_class(samples, split.train) == [3, 4, 15] and per_class(samples, split.val) == [1, 1, 2]
    assert reduced(samples, fraction=1) == reduced(samples)


def test_official_validation_shrinks_too() -> None:
    samples = replace(listed({"a": 30, "b": 30}), parts=(["train"] * 10 + ["val"] * 10 + ["test"] * 10) * 2)
    split = reduced(samples, shots=3)
    assert len(split.train) == len(split.val) == 6 and len(split.test) == 20


@pytest.mark.parametrize("grouped", [False, True])
def test_nested_and_seeded(grouped: bool) -> None:
    samples, rng = listed(SIZES), random.Random(0)
    if grouped:  # patients with images of several classes
        samples = replace(samples, groups=[f"p{rng.randrange(60)}" for _ in samples.names])
    for config in ([{"shots": k} for k in (1, 2, 5, 10)], [{"fraction": f} for f in (0.02, 0.1, 0.5, 1.0)]):
        nested = [reduced(samples, **options) for options in config]
        for small, large in pairwise(nested):
            assert set(small.train) < set(large.train) and set(small.val) <= set(large.val)
    assert reduced(samples, 0, shots=2) == reduced(samples, 0, shots=2)
    assert reduced(samples, 0, shots=2).train != reduced(samples, 1, shots=2).train


def test_groups() -> None:
    """Shots count images; a fraction keeps groups whole."""
    samples = listed(SIZES)
    samples = replace(samples, groups=[f"{samples.labels[i]}/{i // 5}" for i in range(len(samples))])
    assert per_class(samples, reduced(samples, shots=3).train) == [3, 3, 3]
    full, split = reduced(samples), reduced(samples, fraction=0.3)
    sizes = Counter(samples.groups[i] for i in full.train)
    assert all(n == sizes[group] for group, n in Counter(samples.groups[i] for i in split.train).items())
    shares = zip(per_class(samples, split.train), per_class(samples, full.train), strict=True)
    assert all(0 <= n - 0.3 * of < 5 for n, of in shares)


def test_the_fingerprint_covers_it() -> None:
    samples = listed(SIZES)
    prints = [reduced(samples, shots=shots).fingerprint for shots in (None, 1, 2)]
    assert len(set(prints)) == 3 and prints[1] == "5a8127f6a9355ba1"


def test_too_few_images_in_a_class() -> None:
    with pytest.raises(UserError, match="--shots 22: class 'a' has 21 images in train"):
        reduced(listed(SIZES), shots=22)


def test_a_written_list_reproduces_the_split(tmp_path: Path) -> None:
    samples = listed(SIZES)
    for split in (reduced(samples), reduced(samples, shots=3)):
        split_file.write(tmp_path / "split.csv", samples, split)
        assert splits.split(folder.DATASET, split_file.apply(tmp_path / "split.csv", samples), seed=9) == split


def test_a_run_and_the_same_run_from_its_split_file(tmp_path: Path, class_tree, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["--data_dir", str(class_tree(n=20)), *TINY]
    main(folder.DATASET, [*data, "--shots", "4", "--out", "one"])
    assert "folder (4 shots) timm:test_resnet" in capsys.readouterr().out
    main(folder.DATASET, [*data, "--split_file", "one/split.csv", "--out", "two"])
    one, two = (json.loads(Path(out, "result.json").read_text()) for out in ("one", "two"))
    assert one["shots"] == 4 and one["fraction"] is None and one["split_file"] is None
    assert two["shots"] is None and two["split_file"] == "one/split.csv"
    assert one["split"] == two["split"] and one["test"] == two["test"]
    counts = {part: one["split"][part] for part in ("train", "val", "test", "unused")}
    assert counts == {"train": 12, "val": 3, "test": 12, "unused": 33}
    with open("one/split.csv", newline="") as file:
        assert Counter(row["part"] for row in csv.DictReader(file)) == Counter(train=12, val=3, test=12)
    assert Path("one/split.csv").read_bytes() == Path("two/split.csv").read_bytes()
    assert json.loads(Path("one/config.json").read_text())["shots"] == 4


def test_a_fraction_of_a_run_that_skips_bad_images(tmp_path: Path, class_tree, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    images = class_tree(n=20)
    (images / "ant" / "ant_1.jpg").write_bytes(b"broken")
    main(folder.DATASET, ["--data_dir", str(images), *TINY, "--fraction", "0.5", "--skip_bad", "--out", "out"])
    result = json.loads(Path("out/result.json").read_text())
    assert result["fraction"] == 0.5 and result["skipped_images"] == 1
    assert sum(result["split"][part] for part in ("train", "val", "test", "unused")) == 59


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--shots", 0), "--shots 0: expected 1 or more"),
        (("--shots", 8), "--shots 8: class 'ant' has 7 images in train"),
        (("--fraction", 0), "--fraction 0.0: expected more than 0"),
        (("--fraction", 1.5), "--fraction 1.5: expected more than 0"),
        (("--shots", 1, "--fraction", 0.5), "not allowed with argument --shots"),
        (("--split_file", "nowhere.csv"), "no split file nowhere.csv"),
    ],
)
def test_mistakes(tmp_path: Path, class_tree, options: tuple, says: str) -> None:
    assert says in mistake(tmp_path, "folder.py", "--data_dir", class_tree(), *options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected CSV rows of path,label,part"),
        ("ant/ant_0.jpg,ant,train\n", "no split in"),
        ("path,label,part\nant/ant_0.jpg,ant\n", "line 2: expected CSV rows of path,label,part"),
        ("path,label,part\nant/ant_0.jpg,ant,train\n\ndog.jpg,dog,train\n", "line 4: no image 'dog.jpg'"),
        ("path,label,part\nant/ant_0.jpg,dog,train\n", "line 2: no class 'dog'"),
        ("path,label,part\nant/ant_0.jpg,bee,train\n", "ant/ant_0.jpg is 'ant' in the data, not 'bee'"),
        ("path,label,part\nant/ant_0.jpg,ant,dev\n", "no part 'dev', expected train, val, test"),
        ("path,label,part\n" + 2 * "ant/ant_0.jpg,ant,train\n", "line 3: ant/ant_0.jpg is listed twice"),
        ("path,label,part\nant/ant_0.jpg,ant,train\n", "class 'bee' has no image in train"),
        ("\xff\xfe\x00", "cannot read the split"),
    ],
)
def test_split_files(tmp_path: Path, class_tree, text: str, says: str) -> None:
    (tmp_path / "split.csv").write_bytes(text.encode("latin1"))
    options = ("--data_dir", class_tree(), "--split_file", tmp_path / "split.csv")
    assert says in mistake(tmp_path, "folder.py", *options)


def test_validation_is_carved_for_a_list_without_val(tmp_path: Path, class_tree, monkeypatch) -> None:
    """As `split.py --list` writes it without --val_size."""
    import split

    monkeypatch.chdir(tmp_path)
    split.main(["--input_dir", str(class_tree(n=20)), "--list", "split.csv"])
    samples = split_file.apply(Path("split.csv"), folder.DATASET.load(tmp_path / "images", None))
    parts = splits.split(folder.DATASET, samples, seed=0)
    assert (len(parts.train), len(parts.val), len(parts.test)) == (42, 6, 12)
    assert parts == splits.split(folder.DATASET, replace(samples, parts=None), seed=0)
