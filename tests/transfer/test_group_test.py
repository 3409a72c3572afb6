"""The test of a grouping: a drop where images of a group resemble each other, none where they do not."""

import numpy as np

from common.transfer import group_test


def images(
    resemblance: float, separation: float = 1.0, groups: int = 40, size: int = 8, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, labels and groups of two classes; images of a group share a random direction."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(groups), size)
    labels = group % 2
    shared = rng.normal(size=(groups, 60))[group] * resemblance
    features = shared + rng.normal(size=(len(group), 60)) + separation * labels[:, None] * np.eye(60)[0]
    return features.astype(np.float32), labels, group


def test_a_probe_that_knows_only_groups_falls_to_chance() -> None:
    features, labels, groups = images(resemblance=3, separation=0)
    (drop,) = group_test.test_groupings(features, labels, [groups])
    assert drop.mixed > 0.95 and 0.35 < drop.apart < 0.65 and drop.low > 0.2


def test_few_false_alarms_and_a_negligible_drop_is_none() -> None:
    drops = []
    for seed in range(40):
        features, labels, groups = images(resemblance=0, separation=2, seed=seed)
        drops += group_test.test_groupings(features, labels, [groups], seed)
    assert sum(drop.low > 0 for drop in drops) <= 3 and not any(drop.low > 0.01 for drop in drops)
    assert abs(np.mean([drop.estimate for drop in drops])) < 0.005


def test_not_testable() -> None:
    labels = np.repeat([0, 1], 20)
    one_group_per_class, four_each, single = labels, np.arange(40) // 5, np.arange(40)
    assert [group_test.testable(labels, g) for g in (one_group_per_class, four_each, single)] == [None] * 3
    assert group_test.testable(labels, np.arange(40) // 4).all()
