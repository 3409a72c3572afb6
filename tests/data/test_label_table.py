"""Tables of labels as people have them: which images, labels, parts and groups; and those that are refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mistakes import mistake
from test_image_folder import add, line

from common import image_folder
from common.data.readers.table_rows import TableColumns
from common.errors import UserError
from common.spec import Samples


def table(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def labels(samples: Samples) -> dict[str, str]:
    return {name: samples.classes[label] for name, label in zip(samples.names, samples.labels, strict=True)}


FLAT = {"0.jpg": "cat", "1.jpg": "dog", "2.jpg": "cat"}


@pytest.mark.parametrize(
    "text",
    [
        "image,label\n0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n",
        "\ufefffilename;class\r\n0.jpg;cat\r\n1.jpg;dog\r\n2.jpg;cat\r\n",
        "Class Name\tFile Path\ncat\t./0.jpg\ndog\t1.jpg\ncat\t2.jpg\n",
        "id,diagnosis,x\n0,cat,7\n1,dog,8\n\n2,cat,9\n",
        "filename, cat, dog\n0.jpg, 1, 0\n1.jpg, 0, 1\n2.jpg, 1, 0\n",
        "image|label\n/home/me/pets/0.jpg|cat\nC:\\pets\\1.jpg|dog\n2.jpg|cat",
        '"image","label"\n"0.jpg","cat"\n"1.jpg","dog"\n"2.jpg","cat"\n"2.jpg","cat"\n',
        "0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n",
        "Image Index,Finding Labels\n0.JPG,cat\n1.JPG,dog\n2.Jpg,cat\n",
        'image, label\r0.jpg, "cat"\r1.jpg, "dog"\r2.jpg, "cat"\r',
    ],
    ids=[
        "csv",
        "spreadsheet",
        "tsv",
        "no suffix",
        "one-hot",
        "other machines",
        "quotes, a row twice",
        "no header",
        "other names, suffix in another case",
        "old Mac, spaces before quotes",
    ],
)
def test_a_flat_folder(tmp_path: Path, text: str) -> None:
    samples = image_folder(add(tmp_path, "{3}.jpg"), labels=table(tmp_path, text))
    assert labels(samples) == FLAT and samples.parts is None and samples.groups is None
    assert line(samples) == "labels.csv: 3 images; 2 classes"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = table(tmp_path, "image,label\n0.jpg,Säge\n1.jpg,Zange\n", encoding=encoding)
    assert labels(image_folder(add(tmp_path, "{2}.jpg"), labels=path)) == {"0.jpg": "Säge", "1.jpg": "Zange"}


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"file_name": f"{i}.jpg", "label": i % 2, "more": {"x": 1}} for i in range(4)]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "rows.jsonl")
    assert labels(image_folder(add(tmp_path, "{4}.jpg"), labels=path)) == {f"{i}.jpg": str(i % 2) for i in range(4)}


def test_columns_that_are_named(tmp_path: Path) -> None:
    add(tmp_path, "{4}.jpg")
    path = table(
        tmp_path, "a,label,b,c,d\n0.jpg,x,cat,train,p\n1.jpg,x,dog,train,p\n2.jpg,x,cat,test,q\n3.jpg,x,dog,test,q\n"
    )
    columns = TableColumns(image="a", label="b", split="c", group="d")
    samples = image_folder(tmp_path, labels=path, columns=columns)
    assert samples.classes == ("cat", "dog") and samples.parts == ["train", "train", "test", "test"]
    assert samples.groups == ["p", "p", "q", "q"]
    assert line(samples) == "labels.csv: train 2, test 2; 2 classes, 2 groups"
    with pytest.raises(UserError, match=r"--label_column z: labels.csv has the columns a, label, b, c, d"):
        image_folder(tmp_path, labels=path, columns=TableColumns(label="z"))


def test_split_and_group_by_their_usual_names(tmp_path: Path) -> None:
    add(tmp_path, "{6}.jpg")
    rows = (
        "0,cat,Training,a",
        "1,dog,Training,a",
        "2,cat,Valid,b",
        "3,dog,Valid,b",
        "4,cat,holdout,",
        "5,dog,holdout,",
    )
    samples = image_folder(tmp_path, labels=table(tmp_path, "image_id,label,set,patient_id\n" + "\n".join(rows)))
    assert samples.parts == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    assert samples.groups == ["a", "a", "b", "b", "4.jpg", "5.jpg"]
    assert (
        line(samples) == "labels.csv: Training 2 (train), Valid 2 (validation), holdout 2 (test); 2 classes, 4 groups"
    )


def test_a_split_column_with_another_name(tmp_path: Path) -> None:
    rows = "0,cat,1,TRAIN\n1,dog,1,TRAIN\n2,cat,2,testing\n3,dog,2,testing\n"
    path = table(tmp_path, f"image,label,fold,Data Split\n{rows}")
    samples = image_folder(add(tmp_path, "{4}.jpg"), labels=path)
    assert samples.parts == ["train", "train", "test", "test"]
    assert line(samples) == "labels.csv: TRAIN 2, testing 2 (test); 2 classes"


def test_images_without_a_split_are_counted(tmp_path: Path) -> None:
    rows = "0,cat,train\n1,dog,train\n2,cat,test\n3,dog,test\n4,cat,\n"
    samples = image_folder(add(tmp_path, "{5}.jpg"), labels=table(tmp_path, f"image,label,split\n{rows}"))
    assert samples.names == [f"{i}.jpg" for i in range(4)]
    assert line(samples).endswith("1 file skipped (without a split in labels.csv)")


def test_a_missing_image_is_not_one_of_another_folder(tmp_path: Path) -> None:
    add(tmp_path, "images/{2}.jpg", "masks/{3}.jpg")
    rows = "".join(f"images/{i}.jpg,{'cat' if i else 'dog'}\n" for i in range(3))
    samples = image_folder(tmp_path, labels=table(tmp_path, f"image,label\n{rows}"))
    assert samples.names == ["images/0.jpg", "images/1.jpg"] and samples.missing == ("images/2.jpg",)
    rows = rows.replace("images/", "/kaggle/input/train/")
    moved = image_folder(add(tmp_path / "b", "pets/{3}.jpg"), labels=table(tmp_path, f"image,label\n{rows}"))
    assert moved.names == [f"pets/{i}.jpg" for i in range(3)], "no path fits: file names do"


def test_a_missing_image_is_not_one_of_another_part(tmp_path: Path) -> None:
    add(tmp_path, "train/{2}.jpg", "test/{3}.jpg")
    for part in ("train", "test"):
        table(tmp_path, "file_name,label\n0.jpg,cat\n1.jpg,dog\n2.jpg,cat\n", f"{part}/metadata.csv")
    samples = image_folder(tmp_path)
    assert len(samples) == 5 and samples.missing == ("2.jpg",)


def test_a_column_of_fold_numbers_is_not_a_split(tmp_path: Path) -> None:
    path = table(tmp_path, "image,label,fold\n0.jpg,cat,1\n1.jpg,dog,2\n")
    assert image_folder(add(tmp_path, "{2}.jpg"), labels=path).parts is None
    with pytest.raises(UserError, match="the split '1' is not a part: expected train, val and test"):
        image_folder(tmp_path, labels=path, columns=TableColumns(split="fold"))


def test_numbers_as_labels_are_in_their_order(tmp_path: Path) -> None:
    path = table(tmp_path, "id,label\n0,10\n1,9\n2,1\n")
    assert image_folder(add(tmp_path, "images/{3}.jpg"), labels=path).classes == ("1", "9", "10")


def test_paths_relative_to_the_table_or_the_folder(tmp_path: Path) -> None:
    add(tmp_path, "images/a/{2}.jpg", "images/b/{2}.jpg")
    path = table(tmp_path, "path,label\n../images/a/0.jpg,cat\nimages/a/1.jpg,dog\nb/0,cat\nb/1,dog\n", "meta/l.csv")
    samples = image_folder(tmp_path, labels=path)
    assert labels(samples) == {
        "images/a/0.jpg": "cat",
        "images/a/1.jpg": "dog",
        "images/b/0.jpg": "cat",
        "images/b/1.jpg": "dog",
    }
    table(tmp_path, "path,label\n0.jpg,cat\n1.jpg,dog\n", "meta/l.csv")
    with pytest.raises(UserError, match=r"'0.jpg' in the table may be images/a/0.jpg or images/b/0.jpg"):
        image_folder(tmp_path, labels=path)


def test_roboflow_has_a_table_in_every_part(tmp_path: Path) -> None:
    for part, n in (("train", 3), ("valid", 2), ("test", 1)):
        add(tmp_path, f"{part}/{{{2 * n}}}.jpg")
        rows = "".join(f"{i}.jpg, {i % 2}, {1 - i % 2}\n" for i in range(2 * n))
        table(tmp_path, f"filename, cat, dog\n{rows}", f"{part}/_classes.csv")
    samples = image_folder(tmp_path, labels=Path("_classes.csv"))
    assert line(samples) == "_classes.csv: train 6, valid 4 (validation), test 2; 2 classes"
    assert labels(samples)["train/0.jpg"] == "dog" and labels(samples)["valid/1.jpg"] == "cat"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_metadata_of_hugging_face_is_found(tmp_path: Path, suffix: str) -> None:
    for part in ("train", "test"):
        add(tmp_path, f"{part}/{{2}}.png")
        rows = [{"file_name": f"{i}.png", "label": "ab"[i]} for i in range(2)]
        text = "\n".join(map(json.dumps, rows)) if suffix == "jsonl" else "file_name,label\n0.png,a\n1.png,b\n"
        table(tmp_path, text, f"{part}/metadata.{suffix}")
    samples = image_folder(tmp_path)
    assert samples.parts == ["test", "test", "train", "train"] and samples.classes == ("a", "b")


def test_images_missing_in_the_table_are_counted(tmp_path: Path) -> None:
    add(tmp_path, "{5}.jpg")
    path = table(tmp_path, "image,label\n0.jpg,cat\n1.jpg,dog\n2.jpg,\n9.jpg,cat\n")
    samples = image_folder(tmp_path, labels=path)
    assert samples.missing == ("9.jpg",) and len(samples) == 2
    assert samples.layout.skipped == {"not in labels.csv": 2, "without a label in labels.csv": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "labels.csv is empty"),
        ("image,label\n", "labels.csv has no rows"),
        ("image,label\n0.jpg,cat\n0.jpg,dog\n", r"0.jpg has two labels \('cat' and 'dog'\)"),
        ("image,label,split\n0.jpg,cat,train\n0.jpg,cat,test\n", r"0.jpg has two splits"),
        ("a,b\n0.jpg,cat\n", "has the columns a, b: none is named like image or label; pass --image_column and --label_column"),
        ("image,caption\n0.jpg,a cat\n1.jpg,b\n", "none is named like label; pass --label_column"),
        ("image,label\n0.jpg,cat,7\n", "line 2: 3 cells, but the header has 2"),
        ("image,cat,dog\n0.jpg,1,1\n1.jpg,0,1\n", r"0.jpg has several labels \(cat, dog\)"),
        ("image,label\n7.jpg,cat\n8.jpg,dog\n", "none of the images in labels.csv is in .*, the first is '7.jpg'"),
        ("image,label\n0.jpg,cat\n1.jpg,cat\n", "a single class"),
        ("image,label,split\n0.jpg,cat,val\n1.jpg,dog,test\n", "no image has the split train"),
        ("\0\0\0", "labels.csv is not text: .*save a spreadsheet as CSV"),
        ('image,label\n0.jpg,"cat\n1.jpg,"dog\n', "cannot read the table labels.csv"),
        ("image,label,split\n0.jpg,cat,train\n1.jpg,dog,unlabelled\n", "the split 'unlabelled' is not a part"),
    ],
)  # fmt: skip
def test_refusals(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        image_folder(add(tmp_path, "{2}.jpg"), labels=table(tmp_path, text))
    assert "\n" not in str(error.value)


def test_no_such_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no table of labels nowhere.csv: expected a CSV, TSV or JSON lines file"):
        image_folder(add(tmp_path, "{2}.jpg"), labels=Path("nowhere.csv"))


def test_missing_images_stop_a_run(tmp_path: Path, class_tree: Callable) -> None:
    add(tmp_path, "images/{8}.jpg")
    rows = "".join(f"{i}.jpg,{'ab'[i % 2]}\n" for i in range(9))
    path = table(tmp_path, f"image,label\n{rows}")
    message = mistake(tmp_path, "folder.py", "--data_dir", tmp_path / "images", "--labels", path)
    assert "1 of 9 images missing" in message and "--subset" in message
    message = mistake(tmp_path, "folder.py", "--data_dir", class_tree(), "--label_column", "x")
    assert "--label_column x: no table of labels" in message
