"""split.py: counts, groups, links and lists, what is left out, what is refused, what an interruption leaves."""

import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from mistakes import mistake
from test_image_folder import add

import split
from common.data.readers import image_folder
from common.data.splits import splits
from folder import DATASET


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*options: object) -> None:
    split.main([str(option) for option in options])


def files(root: str | Path) -> set[str]:
    return {p.relative_to(root).as_posix() for p in Path(root).rglob("*") if p.is_file()}


def counts(root: str | Path) -> Counter:
    return Counter(name.rsplit("/", 1)[0] for name in files(root))


def test_counts_and_content(class_tree, capsys: pytest.CaptureFixture) -> None:
    images = class_tree(n=11)
    run("--input_dir", images, "--output_dir", "out", "--test_size", 0.2, "--val_size", 0.1)
    assert counts("out") == {
        f"{part}/{c}": n for part, n in (("train", 6), ("val", 2), ("test", 3)) for c in ("ant", "bee", "cow")
    }
    for name in files("out"):
        assert (images / name.split("/", 1)[1]).read_bytes() == (Path("out") / name).read_bytes()
    assert capsys.readouterr().out.splitlines() == [
        "class folders: 33 images; 3 classes",
        "33 images of 3 classes: 18 train, 6 val, 9 test -> out",
    ]


def test_without_val(class_tree) -> None:
    run("--input_dir", class_tree(), "--output_dir", "out")
    assert counts("out") == {f"{part}/{c}": n for part, n in (("train", 8), ("test", 2)) for c in ("ant", "bee", "cow")}


def test_the_script_splits_like_a_data_sheet(class_tree) -> None:
    """The script's test part is the one that a sheet with the same share and seed holds out."""
    samples = image_folder(class_tree(n=13))
    ours = splits.holdout(samples.names, samples.labels, None, 0.3, 7, "test")
    run("--input_dir", "images", "--output_dir", "out", "--test_size", 0.3, "--random_state", 7)
    assert files("out/test") == {samples.names[i] for i in ours}


def test_a_split_folder_is_what_folder_py_reads(class_tree) -> None:
    run("--input_dir", class_tree(), "--output_dir", "deep/er/out", "--val_size", 0.1)
    samples = DATASET.load(Path("deep/er/out"), None)
    assert Counter(samples.parts) == {"train": 21, "val": 3, "test": 6}
    assert splits.split(DATASET, samples, 0).fingerprint == splits.split(DATASET, samples, 1).fingerprint


def test_nested_folders_and_names_that_collide(class_tree) -> None:
    images = class_tree(n=4)
    for sub in ("left", "right/deep"):
        (images / "ant" / sub).mkdir(parents=True)
        shutil.copy(images / "ant" / "ant_0.jpg", images / "ant" / sub / "ant_0.jpg")
    run("--input_dir", images, "--output_dir", "out", "--test_size", 0.5)
    assert {name.split("/", 1)[1] for name in files("out")} == files(images)


def test_other_files_are_left_out_and_named(class_tree, capsys) -> None:
    images = class_tree()
    for name in ("ant/notes.txt", "ant/.hidden.jpg", "README", "stray.jpg"):
        (images / name).write_text("no picture of a class")
    run("--input_dir", images, "--output_dir", "out")
    assert len(files("out")) == 30
    assert "4 files skipped (1 .txt, 1 hidden, 1 no suffix, 1 outside the class folders)" in capsys.readouterr().out


def test_groups_stay_together(class_tree) -> None:
    images = class_tree(n=20)
    for path in list(images.rglob("*.jpg")):
        number = int(path.stem.split("_")[1])
        path.rename(path.with_name(f"p{number // 4}-{number}.jpg"))
    run("--input_dir", images, "--output_dir", "out", "--val_size", 0.2, "--group_by", r"/(p\d+)-")
    patients = [{Path(name).stem.split("-")[0] for name in files(f"out/{part}")} for part in ("train", "val", "test")]
    assert sum(map(len, patients)) == 5 and set.union(*patients) == {f"p{i}" for i in range(5)}
    assert all(patients)


@pytest.mark.parametrize("how", ["hard", "symbolic"])
def test_links(class_tree, how: str) -> None:
    images = class_tree()
    run("--input_dir", images.name, "--output_dir", "out", "--link", how)
    for name in files("out"):
        made, source = Path("out", name), images / name.split("/", 1)[1]
        assert made.samefile(source) and made.is_symlink() == (how == "symbolic")


def test_a_list_is_the_same_split(class_tree) -> None:
    images = class_tree()
    run("--input_dir", images, "--output_dir", "out", "--val_size", 0.1)
    run("--input_dir", images, "--list", "split.csv", "--val_size", 0.1)
    header, *rows = Path("split.csv").read_text().splitlines()
    assert header == "path,label,part" and len(rows) == 30
    assert {f"{part}/{path}" for path, label, part in (row.split(",") for row in rows)} == files("out")
    assert rows[0].startswith("ant/ant_0.jpg,ant,") and rows == sorted(rows)


def test_directory_order_does_not_matter(class_tree, monkeypatch) -> None:
    images, plain = class_tree(), os.scandir

    class Backwards:
        def __init__(self, path: object) -> None:
            with plain(path) as entries:
                self.entries = iter(list(entries)[::-1])

        def __enter__(self):
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def __iter__(self):
            return self

        def __next__(self) -> os.DirEntry:
            return next(self.entries)

    run("--input_dir", images, "--list", "one.csv")
    monkeypatch.setattr(os, "scandir", Backwards)
    run("--input_dir", images, "--list", "two.csv")
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()


@pytest.mark.parametrize("fails", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interruption_leaves_nothing(class_tree, monkeypatch, capsys, fails) -> None:
    images, copy, done = class_tree(), shutil.copy2, []

    def breaks(source: str, target: Path) -> None:
        if len(done) == 10:
            raise fails
        done.append(copy(source, target))

    monkeypatch.setattr("common.data.splits.export_folders.shutil.copy2", breaks)
    with pytest.raises(SystemExit) as stop:
        run("--input_dir", images, "--output_dir", "out")
    assert len(done) == 10 and {p.name for p in Path().iterdir()} == {"images"}
    if isinstance(fails, OSError):
        assert stop.value.code == 2 and "No space left on device" in capsys.readouterr().err
    else:
        assert stop.value.code == 130


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--test_size", 0), "--test_size 0.0: expected a fraction between 0 and 1"),
        (("--test_size", 1), "--test_size 1.0: expected a fraction"),
        (("--test_size", "nan"), "--test_size nan: expected a fraction"),
        (("--val_size", -0.1), "--val_size -0.1: expected a fraction"),
        (("--test_size", 0.6, "--val_size", 0.4), "nothing would be left to train on"),
        (("--test_size", 0.9, "--val_size", 0.05), "class 'ant' has no image in val (10 in all) and 2 more classes"),
        (("--group_by", "("), "not a valid regular expression: '('"),
        (("--group_by", r"_[1-9]"), "no group for 'ant/ant_0.jpg'"),
        (("--group_by", r"^(\w+)/"), "class 'ant' is one group ('ant')"),
        (("--group_by", "_"), "puts all images in one group, '_'"),
        (("--output_dir", "images"), "images exists already"),
        (("--output_dir", "images/ant/out"), "where it would be another class folder"),
        (("--input_dir", "nowhere"), "no folder nowhere"),
        (("--list", "x.csv"), "not allowed with argument"),
        (("--link", "soft"), "invalid choice"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, class_tree, options: tuple, says: str) -> None:
    images = class_tree()
    assert says in mistake(tmp_path, "split.py", "--input_dir", images, "--output_dir", "out", *options)


def test_folders_that_are_split_already(tmp_path: Path, class_tree) -> None:
    class_tree(base="images/train")
    images = class_tree(base="images/test")
    options = ("--input_dir", images, "--output_dir", "out", "--group_by", "none")
    assert "is split already" in mistake(tmp_path, "split.py", *options)


def test_a_list_and_links(tmp_path: Path, class_tree) -> None:
    options = ("--input_dir", class_tree(), "--list", "x.csv", "--link", "hard")
    assert "--list writes no images" in mistake(tmp_path, "split.py", *options)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ((".", ".."), "class '.' cannot be a folder of its own"),
        (("a/b", "a_b"), "class 'a/b' cannot be a folder of its own"),
        (("cat", "dog"), ".jpg would both become train/cat/"),
    ],
)
def test_no_image_overwrites_another(tmp_path: Path, labels: tuple[str, str], says: str) -> None:
    names = ("x/cat/{8}.jpg", "{8}.jpg", "other/d{8}.jpg")
    add(tmp_path / "images", *names)
    rows = [f"{name.replace('{8}', str(i))},{labels['d{' in name]}\n" for name in names for i in range(8)]
    (tmp_path / "images" / "labels.csv").write_text("image,label\n" + "".join(rows))
    options = ("--input_dir", "images", "--labels", "labels.csv", "--output_dir", "out", "--test_size", 0.1)
    assert says in mistake(tmp_path, "split.py", *options)
