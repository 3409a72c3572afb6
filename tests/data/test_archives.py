"""`--data_dir` on an archive is unpacked once, safely; other data files are named with the way to folders."""

import shutil
import zipfile
from pathlib import Path

import pytest
from mistakes import mistake

from common.__main__ import main
from common.data.readers.unpacked import data_folder
from common.errors import UserError
from common.files.disk_cache import cache_dir


@pytest.fixture(autouse=True)
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_an_archive_is_checked_like_its_folder(class_tree, capsys, kind: str) -> None:
    archive = shutil.make_archive("photos", kind, root_dir=class_tree().parent, base_dir="images")
    main(["check", archive])
    text = capsys.readouterr().out
    assert "layout: class folders: 30 images; 3 classes; all in images/\n" in text
    assert "no serious problems found" in text


def test_it_is_unpacked_once(class_tree) -> None:
    archive = Path(shutil.make_archive("photos", "zip", class_tree()))
    folder = data_folder(archive)
    assert folder.is_relative_to(cache_dir()) and len(list(folder.rglob("*.jpg"))) == 30
    (folder / "mark").touch()
    assert data_folder(archive) == folder and (folder / "mark").exists()
    archive.write_bytes(Path(shutil.make_archive("other", "zip", class_tree(("x", "y")))).read_bytes())
    assert data_folder(archive) != folder, "another content is another folder"
    assert data_folder(Path("images")) == Path("images")


def test_a_hostile_archive(class_tree) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("../../out.jpg", b"x")
    with pytest.raises(UserError, match=r"photos.zip is not unpacked: it has a path outside its folder"):
        data_folder(Path("photos.zip"))
    assert not [p for p in cache_dir().rglob("*") if p.suffix == ".jpg"] and not list(Path().rglob("out.jpg"))


def test_an_encrypted_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile("photos.zip", "w") as archive:
        archive.writestr("cat/0.jpg", b"x")
    content = bytearray(Path("photos.zip").read_bytes())
    for start, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(start) + flags] |= 1
    Path("photos.zip").write_bytes(content)
    assert "is encrypted: unpack it with its password" in mistake(
        tmp_path, "folder.py", "--data_dir", "photos.zip", "--weights", "none"
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("train.parquet", "train.parquet is a Parquet table: datasets.load_dataset"),
        ("pathmnist.npz", "pathmnist.npz is a NumPy archive: numpy.load(FILE) reads it"),
        ("photos.rar", "an archive that is not read (.rar): unpack it, or pack it as .zip or .tar"),
        ("photo.jpg", "photo.jpg is not a folder"),
    ],
)
def test_other_files(tmp_path: Path, name: str, says: str) -> None:
    Path(name).touch()
    assert says in mistake(tmp_path, "folder.py", "--data_dir", name, "--weights", "none")
    with pytest.raises(SystemExit):
        main(["check", name])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("data/train-00000.parquet", "train-00000.parquet is a Parquet table"),
        ("data/photos.zip", "photos.zip is an archive: pass it as --data_dir to read it"),
        ("data/shard/000.cls", "000.cls belongs to a WebDataset shard"),
    ],
)
def test_a_folder_of_other_files(tmp_path: Path, name: str, says: str) -> None:
    Path(name).parent.mkdir(parents=True)
    Path(name).touch()
    assert says in mistake(tmp_path, "folder.py", "--data_dir", "data", "--weights", "none")


def test_split_reads_an_archive(class_tree, capsys) -> None:
    import split

    archive = shutil.make_archive("photos", "zip", root_dir=class_tree().parent, base_dir="images")
    split.main(["--input_dir", archive, "--output_dir", "out"])
    assert len(list(Path("out/test/ant").glob("*.jpg"))) == 2, "parts have class folders, not the archive's folder"
    assert "all in images/" in capsys.readouterr().out
