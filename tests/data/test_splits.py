"""Splits: counts, groups, fingerprints, and what they do not depend on."""

import random
from collections import Counter
from dataclasses import replace
from math import ceil

import pytest
from miniatures import listed

import digits
import eurosat
from common import Holdout
from common.data.splits import requirements, splits
from common.errors import UserError

EUROSAT = dict(zip(eurosat.DATASET.classes, (3000, 3000, 3000, 2500, 2500, 2000, 2500, 3000, 2500, 3000), strict=True))


def test_eurosat_arithmetic() -> None:
    split = splits.split(eurosat.DATASET, listed(EUROSAT), seed=0)
    assert (len(split.train), len(split.val), len(split.test)) == (17_010, 1_890, 8_100)


def test_digits_counts() -> None:
    samples = digits.DATASET.load(None, digits.DATASET.classes)
    requirements.check_counts(digits.DATASET, samples)
    split = splits.split(digits.DATASET, samples, seed=0)
    assert (len(split.train), len(split.val), len(split.test)) == (1_284, 149, 364)
    assert len(split.train) + len(split.val) == digits.DATASET.counts["train"]


def test_fingerprints_are_pinned() -> None:
    """They change when, and only when, somebody's split changes: old results are then no longer comparable."""
    assert splits.split(eurosat.DATASET, listed(EUROSAT), seed=0).fingerprint == "3a80cb75c5ddf230"
    assert splits.split(eurosat.DATASET, listed(EUROSAT), seed=1).fingerprint == "6b28ea074dd22c00"


@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.3])
def test_every_class_gives_its_share(fraction: float) -> None:
    samples = listed({"a": 7, "b": 10, "c": 101})
    taken = splits.holdout(samples.names, samples.labels, None, fraction, 42, "test")
    assert Counter(samples.labels[i] for i in taken) == {c: ceil(fraction * n) for c, n in enumerate((7, 10, 101))}


def test_order_does_not_matter() -> None:
    samples = listed({"a": 30, "b": 20})
    shuffled = list(range(50))
    random.Random(0).shuffle(shuffled)
    other = replace(samples, names=[samples.names[i] for i in shuffled], labels=[samples.labels[i] for i in shuffled])
    one, two = splits.split(eurosat.DATASET, samples, 0), splits.split(eurosat.DATASET, other, 0)
    assert one.fingerprint == two.fingerprint
    assert {samples.names[i] for i in one.val} == {other.names[i] for i in two.val}


def test_parts_are_disjoint_and_complete_and_test_ignores_the_seed() -> None:
    samples = listed({"a": 30, "b": 20})
    one, two = (splits.split(eurosat.DATASET, samples, seed) for seed in (0, 1))
    assert sorted(one.train + one.val + one.test) == list(range(50))
    assert one.test == two.test and one.val != two.val


def test_an_image_more_moves_no_other() -> None:
    small, large = listed({"a": 99, "b": 100}), listed({"a": 100, "b": 100})
    one, two = (splits.split(eurosat.DATASET, s, 0) for s in (small, large))
    assert {small.names[i] for i in one.test} <= {large.names[i] for i in two.test}


def test_groups_stay_whole() -> None:
    rng = random.Random(0)
    samples = listed({"a": 200, "b": 300})
    samples = replace(samples, groups=[f"patient{rng.randrange(60)}/{label}" for label in samples.labels])
    split = splits.split(replace(eurosat.DATASET, split=Holdout(test=0.2)), samples, seed=0)
    patients = [{samples.groups[i] for i in part} for part in (split.train, split.val, split.test)]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]
    held = Counter(samples.labels[i] for i in split.test)
    assert abs(held[0] - 40) <= 3 and abs(held[1] - 60) <= 3  # as near as whole groups allow


def test_a_class_of_one_group_is_named() -> None:
    samples = replace(listed({"a": 20, "b": 20}), groups=["g"] * 20 + [f"h{i}" for i in range(20)])
    with pytest.raises(UserError, match=r"class 'a' has no image in .* in all, in . groups?\): .* so add groups"):
        splits.split(eurosat.DATASET, samples, 0)


def test_official_parts_stay() -> None:
    samples = replace(listed({"a": 30, "b": 30}), parts=(["train"] * 10 + ["val"] * 10 + ["test"] * 10) * 2)
    split = splits.split(eurosat.DATASET, samples, 0)
    assert [samples.parts[i] for i in split.val] == ["val"] * 20 and len(split.test) == 20


def test_subset_renumbers_present_classes() -> None:
    samples = replace(listed({"a": 3, "b": 3}), labels=[1] * 3 + [4] * 3, classes=tuple("abcdef"))
    subset = splits.present_classes(samples)
    assert subset.classes == ("b", "e") and set(subset.labels) == {0, 1}


def test_a_paper_may_tear_groups_and_forget_classes() -> None:
    samples = listed({"a": 80, "b": 40}, groups=[f"g{i // 4}" for i in range(120)])
    plain = Holdout(test=0.1, stratify=False, groups=False)
    split = splits.split(replace(eurosat.DATASET, split=plain), samples, seed=0)
    of_test = {samples.groups[i] for i in split.test}
    assert len(split.test) == 12 and Counter(samples.labels[i] for i in split.test) != {0: 8, 1: 4}
    assert of_test & {samples.groups[i] for i in split.train}
    assert not {samples.groups[i] for i in split.val} & {samples.groups[i] for i in split.train}


def test_carved_validation_goes_back_to_train() -> None:
    """Test stays; a validation set of the data's own stays, too; without caveats of validation."""
    samples = listed({"a": 20, "b": 20})
    split = replace(splits.split(digits.DATASET, samples, seed=0), caveats=("validation has none", "test has few"))
    merged = splits.without_val(samples, split)
    assert set(merged.train) == set(split.train + split.val) and list(merged.train) == sorted(merged.train)
    assert (merged.val, merged.test, merged.caveats) == ((), split.test, ("test has few",))
    parts = ["test" if i in split.test else "train" for i in range(len(samples))]
    assert merged.fingerprint == splits.fingerprint(samples, parts) != split.fingerprint
    assert splits.without_val(replace(samples, parts=["val"] * 40), split) is split


def test_a_number_of_classes_is_checked() -> None:
    """Where the data names the classes the data sheet states how many there are."""
    samples = listed({"a": 20, "b": 20})
    requirements.check_counts(replace(digits.DATASET, classes=2, counts=None), samples)
    with pytest.raises(UserError, match=r"found 2 classes \(expected 3\)"):
        requirements.check_counts(replace(digits.DATASET, classes=3, counts=None), samples)
