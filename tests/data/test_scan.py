"""What is found below a folder: links once, circles never, every file accounted for; and the suffixes that are images."""

import os
import random
import string
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import ROOT
from miniatures import picture
from PIL import Image

from common import image_folder
from common.cli.parse import has_data
from common.data.images.open import open_image
from common.data.readers import suffixes
from common.data.readers.scan import LEFTOVERS, leftover, scan
from common.errors import UserError
from folder import DATASET


def images(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture(1, (8, 8)).save(root / name)
    return root


def link(path: Path, target: str | Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize(
    ("links", "skipped"),
    [
        ({"a/self": ".."}, {"behind a circular link": 1}),
        ({"a/self": "."}, {"behind a circular link": 1}),
        ({"a/up": "../.."}, {"behind a circular link": 1}),
        ({"a/deep/back": "../../a"}, {"behind a circular link": 1}),
        ({"a/x": "y", "a/y": "x"}, {"behind a circular link": 2}),
        ({"a/gone.jpg": "nowhere.jpg", "gone": "nowhere"}, {"behind a broken link": 2}),
        ({"c": "a"}, {"read already": 1}),
        ({"b/again.jpg": "0.jpg"}, {"read already": 1}),
        ({"b/zero": "/dev/null", "b/null.jpg": "/dev/null"}, {"not a regular file": 2}),
    ],
)  # fmt: skip
def test_links_that_are_passed_over(tmp_path: Path, links: dict[str, str], skipped: dict[str, int]) -> None:
    root = images(tmp_path / "data", "a/0.jpg", "b/0.jpg")
    for name, target in links.items():
        link(root / name, target)
    tree = scan(root)
    assert tree.names() == ["a/0.jpg", "b/0.jpg"] and tree.skipped == skipped


def test_links_that_are_followed(tmp_path: Path) -> None:
    images(tmp_path / "store", "x.jpg", "more/y.jpg")
    (tmp_path / "store" / "x.jpg").rename(tmp_path / "store" / "blob")
    root = images(tmp_path / "data", "b/0.jpg")
    link(root / "a" / "x.jpg", tmp_path / "store" / "blob")  # Hugging Face's cache: the suffix is the link's
    link(root / "a" / "more", tmp_path / "store" / "more")
    link(root / "c", tmp_path / "store" / "more")  # the same folder again
    tree = scan(root)
    assert tree.names() == ["a/more/y.jpg", "a/x.jpg", "b/0.jpg"] and tree.skipped == {"read already": 1}
    assert all(Path(tree.path(name)).is_file() for name in tree.names())


def test_a_link_into_a_hidden_folder_is_followed(tmp_path: Path) -> None:
    root = images(tmp_path, "a/0.jpg", ".store/1.jpg")
    link(root / "b", ".store")
    tree = scan(root)
    assert tree.names() == ["a/0.jpg", "b/1.jpg"] and tree.skipped == {"hidden": 1}


def test_a_link_to_the_folder_itself(tmp_path: Path) -> None:
    images(tmp_path / "real", "a/0.jpg", "b/0.jpg")
    link(tmp_path / "linked", "real")
    assert scan(tmp_path / "linked").names() == ["a/0.jpg", "b/0.jpg"]


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    root = images(tmp_path, "b/0.jpg", "c/0.jpg")
    for name in ("a", "d"):
        (root / name).mkdir()
        os.link(root / "b" / "0.jpg", root / name / "1.jpg")
    tree = scan(root)
    assert tree.names() == ["a/1.jpg", "c/0.jpg"], "the first name stays, whatever the order of the directories"
    assert tree.skipped == {"read already": 2} and {first for _, first in tree.repeated} <= {"a/1.jpg", "b/0.jpg"}


def test_a_file_in_two_classes_is_named(tmp_path: Path) -> None:
    root = images(tmp_path, "cat/0.jpg", "cat/1.jpg", "dog/0.jpg")
    link(root / "dog" / "also.jpg", "../cat/0.jpg")
    assert image_folder(root).layout.notes == ("dog/also.jpg is the same file as cat/0.jpg",)


def test_a_folder_of_two_classes_is_named(tmp_path: Path) -> None:
    root = images(tmp_path, "cat/0.jpg", "cow/0.jpg")
    link(root / "dog", "cat")
    assert image_folder(root).layout.notes == ("dog/ is the same folder as cat/",)


def test_an_unreadable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, plain = images(tmp_path, "a/0.jpg", "b/0.jpg"), os.scandir

    def deny(path: str):
        if str(path).endswith("b"):
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", deny)
    with pytest.raises(UserError, match=r"cannot read the folder .*b \(Permission denied\)"):
        scan(root)


def test_an_unreadable_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", deny)
    with pytest.raises(UserError, match=r"cannot read the folder .* \(Permission denied\)"):
        has_data(DATASET, tmp_path)
    assert not has_data(DATASET, tmp_path / ("x" * 300))


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    root = images(tmp_path, "a/0.jpg")
    os.rename(root / "a" / "0.jpg", os.fsencode(root / "a") + b"/\xff.jpg")
    with pytest.raises(UserError, match=r"not valid UTF-8: .*\\udcff.jpg.*rename it"):
        scan(root)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have UTF-8 names in any locale")
def test_a_locale_that_is_not_utf8(tmp_path: Path) -> None:
    root = images(tmp_path, "B\u00e4ume/0.jpg")
    code = "import sys; from common.data.readers.scan import scan; scan(sys.argv[1])"
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code, root], env=env, capture_output=True, text=True)
    assert "UserError: this locale (ascii) cannot represent the name of '" in run.stderr
    assert "set PYTHONUTF8=1" in run.stderr and "not valid UTF-8" not in run.stderr


# suffixes

EXCLUDED = {"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "PDF", "PALM", "IPTC"}  # see suffixes.py


def test_all_suffixes_of_pillow_are_read_or_excluded() -> None:
    Image.init()
    registered = {suffix: name for suffix, name in Image.registered_extensions().items() if name not in EXCLUDED}
    assert suffixes.FORMAT_OF.keys() == registered.keys()
    assert {name for name in suffixes.PILLOW if name not in Image.OPEN} == set()


@pytest.mark.parametrize(
    "suffix",
    [
        ".jpg",
        ".JFIF",
        ".png",
        ".apng",
        ".avif",
        ".jp2",
        ".pgm",
        ".tga",
        ".bmp",
        ".gif",
        ".webp",
        ".tif",
        ".ico",
        ".qoi",
        ".pcx",
    ],
)
def test_formats_that_are_decoded(tmp_path: Path, suffix: str) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        image = picture(3, (16, 16)).convert("L" if suffix == ".pgm" else "RGB")
        image.save(tmp_path / folder / f"x{suffix}")
    samples = image_folder(tmp_path)
    assert len(samples) == 2
    assert open_image(samples.images[0]).convert("RGB").size == (16, 16)


def test_heif_is_read_if_its_package_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").touch()
    assert scan(tmp_path).skipped == {".heic (pip install pillow-heif)": 1}
    monkeypatch.setattr(suffixes, "find_spec", lambda name: name == "pillow_heif")
    suffixes.image_suffixes.cache_clear()
    try:
        assert scan(tmp_path).names() == ["a.heic"]
    finally:
        suffixes.image_suffixes.cache_clear()


# random trees

PIECES = (
    "cat",
    "dog",
    "Train",
    "val",
    "TEST",
    "eval",
    "images",
    "2024",
    "ä",
    "a b",
    "x" * 40,
    "line\nbreak",
    "\x1b[31m",
    ".hidden",
    *sorted(LEFTOVERS)[:4],
)
SUFFIXES = (".jpg", ".JPG", ".png", ".txt", "", ".heic", ".csv", ".tar", ".zip", ".dcm")


def random_tree(root: Path, rng: random.Random) -> int:
    """Folders, files and links at random; returns how many entries are no folders."""
    folders, files = [root], 0
    for _ in range(rng.randrange(3, 45)):
        where = rng.choice(folders)
        name = (
            rng.choice(PIECES) if rng.random() < 0.7 else "".join(rng.choices(string.printable.replace("/", ""), k=5))
        )
        path = where / (name + (rng.choice(SUFFIXES) if rng.random() < 0.6 else ""))
        if name in (".", "..") or os.path.lexists(path):
            continue
        kind = rng.random()
        if kind < 0.35:
            path.mkdir()
            folders.append(path)
            continue
        if kind < 0.8:
            path.write_bytes(b"")
        elif kind < 0.85:
            os.mkfifo(path)
        elif kind < 0.9 and files:
            os.link(rng.choice([p for p in root.rglob("*") if p.is_file() and not p.is_symlink()] or [__file__]), path)
        else:
            seen = [p for p in [*folders, *root.rglob("*")] if not any(map(leftover, p.relative_to(root).parts))]
            target = rng.choice([*seen, Path("nowhere"), root.parent])  # links into hidden folders are followed
            path.symlink_to(target if rng.random() < 0.5 else os.path.relpath(target, where))
        files += 1
    return files


@pytest.mark.parametrize("seed", range(150))
def test_a_random_tree(tmp_path: Path, seed: int) -> None:
    root = tmp_path / "data"
    root.mkdir()
    files = random_tree(root, random.Random(seed))
    tree = scan(root)
    names = tree.names()
    assert len(names) + sum(tree.skipped.values()) == files, (names, tree.skipped)
    real = Counter(os.stat(tree.path(name)).st_ino for name in names)
    assert not real or max(real.values()) == 1, "no image is counted twice"
    try:
        samples = image_folder(root)
    except UserError as error:
        assert str(error)
    else:
        assert len(samples) + sum(samples.layout.skipped.values()) == files
        assert len(set(samples.names)) == len(samples)
