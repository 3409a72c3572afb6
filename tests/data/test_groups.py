"""Groups of images: candidates from names, folders and cameras, copies, and how they are joined."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.data.groups import group_by
from common.data.groups.candidates import candidates
from common.data.groups.capture import captures
from common.data.groups.copies import copy_sets
from common.errors import UserError
from common.models.build import get_backbone
from common.spec import Samples

PIXELS = get_backbone("efficientnet_lite0").preprocess((64, 64))


def samples_of(names: list[str]) -> Samples:
    classes = sorted({name.split("/")[0] for name in names})
    labels = [classes.index(name.split("/")[0]) for name in names]
    return Samples(images=names, names=names, labels=labels, classes=tuple(classes))


def groupings(names: list[str]) -> dict[str, int]:
    """{text: number of groups}"""
    return {found.text: len(set(found.groups)) for found in candidates(samples_of(names))}


def test_the_prefix_of_clips_and_their_halves() -> None:
    names = [f"{label}/clip{label}{i}_{j:03}.png" for label in "ab" for i in range(3) for j in range(10)]
    assert groupings(names) == {"that share the prefix clipa0_": 6, "in runs of 5 consecutive numbers": 12}


def test_a_patient_in_the_middle_of_the_name() -> None:
    """The number of the scan is no group: it does not occur twice in a class."""
    names = [f"{label}/{i}{j}_p{i}_ct.png" for label in ("ill", "well") for i in range(4) for j in range(3)]
    found = candidates(samples_of(names))
    assert [(c.text, len(set(c.groups))) for c in found if c.kind == "word"] == [("that share the word p0", 4)]


def test_a_patient_may_have_images_of_both_classes() -> None:
    names = [f"{label}/p{i}/scan{j}.png" for label in ("ill", "well") for i in range(4) for j in range(3)]
    found = candidates(samples_of(names))
    assert found[0].kind == "folder" and len(set(found[0].groups)) == 4


def test_images_without_sub_folder_or_prefix_are_groups_of_one() -> None:
    names = [f"a/{i}.png" for i in range(3)] + [f"a/p{k}/{i}.png" for k in range(2) for i in range(3)]
    folders = candidates(samples_of(names))[0]
    assert folders.text == "in the same sub-folder, such as p0/," and len(set(folders.groups)) == 3 + 2
    mixed = [f"a/{i}.png" for i in range(3)] + [f"a/clip{k}_{i}.png" for k in range(2) for i in range(3)]
    prefix = candidates(samples_of(mixed))[0]
    assert prefix.text == "that share the prefix clip0_" and len(set(prefix.groups)) == 3 + 2


def test_numbers_count_by_value_and_a_gap_in_them_does_not_end_a_run() -> None:
    names = [f"a/img{i}.jpg" for i in (1, 2, 3, 10, 11, 100, 101, 102, 103, 104)]
    runs = next(c for c in candidates(samples_of([*names, "b/x1.jpg"])) if c.kind == "run")
    assert len(set(runs.groups[:5])) == len(set(runs.groups[5:10])) == 1 and len(set(runs.groups)) == 3


def test_names_without_numbers_suggest_nothing() -> None:
    assert not groupings([f"{label}/{name}.jpg" for label in "ab" for name in ("oak", "elm", "ash")])


def test_bursts_by_the_exif_of_one_camera(tmp_path: Path) -> None:
    files = []
    for i, second in enumerate((0, 3, 9, 40, 41)):
        exif = Image.Exif()
        exif[0x0110] = "X100"
        exif.get_ifd(0x8769)[0x9003] = f"2024:05:01 12:00:{second:02}"
        files.append(tmp_path / f"{'abcde'[i]}.jpg")
        Image.new("RGB", (40, 40)).save(files[-1], exif=exif)
    broken = tmp_path / "f.jpg"
    broken.write_bytes(files[0].read_bytes().replace(b"2024:05:01", b"2024:99:01"))
    names = [f"a/{file.name}" for file in (*files, broken)]
    samples = Samples(images=[*map(str, files), str(broken)], names=names, labels=[0] * 6, classes=("a",))
    found = {c.text: c.groups for c in candidates(samples) if c.kind == "time"}
    assert found["taken within 10 seconds of each other"] == ("0", "0", "0", "3", "3", "5")


def test_a_camera_whose_clock_is_not_set(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "0001:01:01 00:00:00"
    Image.new("RGB", (40, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert captures([str(tmp_path / "a.jpg")])[0].camera == ""


def test_the_exif_of_a_format_that_pillow_loads_late(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "X100"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:00:00"
    Image.new("RGB", (40, 40)).save(tmp_path / "a.avif", exif=exif)
    assert captures([str(tmp_path / "a.avif")])[0].camera == "X100"


def test_copies_exact_and_near_but_not_a_crowd(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    files = []
    for i in range(6):
        scene = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize(
            (80, 60), Image.Resampling.BICUBIC
        )
        files.append(tmp_path / f"{i}.png")
        scene.save(files[-1])
    Image.open(files[1]).save(tmp_path / "6.bmp")  # the same pixels
    Image.open(files[2]).resize((60, 45)).save(tmp_path / "7.jpg", quality=60)
    broken = tmp_path / "8.jpg"
    broken.write_bytes(b"no image")
    images = [*map(str, files), *(str(tmp_path / name) for name in ("6.bmp", "7.jpg", "8.jpg"))]
    assert copy_sets(images, PIXELS) == copy_sets(images, PIXELS) == [[1, 6], [2, 7]]


def test_a_hundred_thousand_groups_of_one_are_no_groups() -> None:
    names = [f"a/{i}.jpg" for i in range(100_000)]
    assert group_by.join(names, group_by.groups_by(names, r"\d+"), []) == [str(i) for i in range(100_000)]


def test_sets_join_groups_and_others_keep_their_names() -> None:
    names, groups = list("abcdef"), ["p", "p", "q", "r", "s", "s"]
    assert group_by.join(names, groups, [[1, 2]]) == ["p", "p", "p", "r", "s", "s"]
    assert group_by.join(names, None, [[1, 2], [2, 5]]) == ["a", "b", "b", "d", "e", "b"]


@pytest.mark.parametrize(
    "pattern, says", [("(", "not a valid"), ("z", "does not match"), ("a", "puts all images in one group, 'a'")]
)
def test_patterns_that_give_no_groups(pattern: str, says: str) -> None:
    with pytest.raises(UserError, match=says):
        group_by.groups_by(["a1", "a2"], pattern)
