"""`--group_by auto` on folders as people have them, and the score on test images that share nothing with training."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import folder as sheet
from common.data.readers import image_folder
from common.data.splits import splits
from common.errors import UserError
from common.run import disjoint
from common.run.frozen_probe import frozen_probe
from common.run.groups import GroupConfig, read_grouped
from common.spec import Samples, Split
from common.transfer import grouping

N_CLIPS, N_FRAMES = 10, 8  # of each class


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that nobody can tell apart; the frames of a clip show one scene."""
    rng, root = np.random.default_rng(0), tmp_path_factory.mktemp("clips")
    for label in ("calm", "wild"):
        (root / label).mkdir()
        for clip in range(N_CLIPS):
            small = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
            scene = np.asarray(small.resize((72, 72), Image.Resampling.BICUBIC)).astype(float)
            for frame in range(N_FRAMES):
                x, y = rng.integers(0, 8, 2)
                pixels = scene[y : y + 64, x : x + 64] + rng.normal(0, 6, (64, 64, 3))
                name = f"{label[0]}{clip}_{frame:03}.png"
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / label / name)
    return root


def read(root: Path, by: str = "auto") -> Samples:
    return read_grouped(root, load=image_folder, config=GroupConfig(by=by, offline=True))


def clips_of(samples: Samples, positions: tuple[int, ...]) -> set[str]:
    return {samples.names[i].rpartition("_")[0] for i in positions}


def test_clips_are_found_kept_together_and_cached(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = read(clips)
    (note,) = [note for note in samples.layout.notes if "resemble" in note]
    assert "that share the prefix c0_" in note and re.search(
        r"the accuracy of a probe is \d+ % instead of (9\d|100) %", note
    )
    split = splits.split(sheet.DATASET, samples, seed=0)
    parts = [clips_of(samples, part) for part in (split.train, split.val, split.test)]
    assert all(parts) and sum(map(len, parts)) == len(set.union(*parts)) == 2 * N_CLIPS
    monkeypatch.setattr(grouping, "measure_drops", None)
    assert read(clips).groups == samples.groups


def test_none_keeps_only_copies_together(clips: Path) -> None:
    samples = read(clips, "none")
    assert len(set(samples.groups or samples.names)) > 2 * N_CLIPS
    assert not [note for note in samples.layout.notes if "resemble" in note]


def test_groups_are_not_kept_together_in_the_split_of_a_file(clips: Path) -> None:
    config = GroupConfig(offline=True, split_file=True)
    notes = " ".join(read_grouped(clips, load=image_folder, config=config).layout.notes)
    assert "a given split does not change" in notes and "kept together" not in notes


def test_a_class_of_one_clip_can_still_be_split(clips: Path, tmp_path: Path) -> None:
    root = tmp_path / "clips"
    shutil.copytree(clips, root)
    (root / "rare").mkdir()
    noise = np.random.default_rng(1).integers(0, 255, (8, 64, 64, 3), dtype=np.uint8)
    for i, pixels in enumerate(noise):
        Image.fromarray(pixels).save(root / "rare" / f"r0_{i}.png")
    samples = read(root)
    assert "too few groups to keep together: class 'rare'" in samples.layout.notes
    split = splits.split(sheet.DATASET, samples, seed=0)
    assert {samples.labels[i] for i in split.train} == {samples.labels[i] for i in split.test} == {0, 1, 2}


def test_a_folder_of_unreadable_images_has_no_grouping(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(20):
            (tmp_path / label / f"{label}{i // 4}_{i}.jpg").write_bytes(b"no image")
    assert read(tmp_path).groups is None


def test_the_frozen_probe_of_check_is_fitted_without_the_images_group(clips: Path) -> None:
    apart, together = (
        frozen_probe(
            SimpleNamespace(samples=samples, preprocess=grouping.preprocess_for_probe(), readable=range(len(samples)))
        )
        for samples in (read(clips), image_folder(clips))
    )
    assert f"of {2 * N_CLIPS * N_FRAMES} images, groups kept apart: " in apart and "groups" not in together
    low, high = (float(line.split(": ")[1].removesuffix(" %")) for line in (apart, together))
    assert low < 85 and high > 90


def test_without_the_probes_weights_a_sentence(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locate(*_: object) -> None:
        raise UserError("its weights come with a package")

    monkeypatch.setattr(grouping.weights, "locate", locate)
    notes = read(clips).layout.notes
    assert "groups were not searched for: its weights come with a package" in notes


def test_few_sub_folders_cannot_be_tested(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in "ab":
        for patient in "pq":
            (tmp_path / label / f"{patient}{label}").mkdir(parents=True)
            for i in range(4):
                pixels = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / label / f"{patient}{label}" / f"{i}.png")
    samples = read(tmp_path)
    assert samples.groups is None and "too few groups to test" in samples.layout.notes[-1]


def test_a_given_split_has_a_second_score() -> None:
    names = [f"{i}" for i in range(12)]
    samples = Samples(images=names, names=names, labels=[0, 1] * 6, classes=("a", "b"), groups=list("aabbccddeeff"))
    split = Split(train=(0, 1, 2, 4), val=(6,), test=(3, 5, 7, 8, 9, 10, 11), fingerprint="")
    dataset = SimpleNamespace(samples=samples, split=split)
    logits = np.eye(2)[[0, 0, 0, 0, 1, 0, 1]] * 5  # wrong on 3, 5, 7, which share a group with training
    found = disjoint.disjoint_scores(dataset, logits, 0, np.zeros(7, bool))
    assert (found["images"], found["shared"], found["scores"]["top1"]["value"]) == (4, 3, 1)
    together = SimpleNamespace(samples=samples, split=replace(split, test=(8, 9, 10, 11)))
    assert disjoint.disjoint_scores(together, logits[3:], 0, np.zeros(4, bool)) is None
    everything = SimpleNamespace(samples=samples, split=replace(split, test=(3, 5, 7)))
    assert disjoint.disjoint_scores(everything, logits[:3], 0, np.zeros(3, bool)) == {
        "images": 0,
        "shared": 3,
        "scores": {},
    }


def test_a_regular_expression_that_leaves_nothing_to_hold_out(clips: Path) -> None:
    load = partial(read_grouped, load=image_folder, config=GroupConfig(by=r"^(\w+)/", offline=True))
    with pytest.raises(UserError, match="class 'calm' is one group"):
        load(clips)
