"""Whether a probe finds the rotation of images, and whether it recognises turned ones."""

import numpy as np

from common.transfer.orientation import TURNS, has_orientation, measure

N, CLASSES = 400, 4
LABELS = np.arange(N) % CLASSES


def turned_features(of_class: float, of_turn: float, seen: np.ndarray = LABELS) -> np.ndarray:
    """(4, N, 16): noise, the class and the number of turns; `seen`: (N,) or (4, N), the classes that images look like."""
    generator = np.random.default_rng(0)
    content = generator.normal(size=(N, 8))
    turns = np.arange(TURNS)
    labels = np.broadcast_to(seen, (TURNS, N))
    parts = [
        of_class * np.eye(CLASSES)[labels],
        of_turn * np.broadcast_to(np.eye(TURNS)[turns][:, None], (TURNS, N, TURNS)),
    ]
    noise = generator.normal(size=(TURNS, N, 8)) / 4
    return np.concatenate([content + noise, *parts], axis=2).astype(np.float32)


def test_content_alone_has_no_orientation() -> None:
    found = measure(turned_features(of_class=3.0, of_turn=0.0), LABELS, None)
    assert found["n"] == N and abs(found["rotation"] - 0.25) < 0.05
    assert found["top1"] > 0.95 and found["top1_turned"] > 0.95
    assert not has_orientation(found)


def test_a_rotation_that_can_be_told_is_an_orientation() -> None:
    found = measure(turned_features(of_class=3.0, of_turn=1.0), LABELS, None)
    assert found["rotation"] > 0.9 and has_orientation(found)


def test_classes_that_are_orientations_have_one() -> None:
    """Arrows in four directions: the set of images is the same when all are turned, but not the classes."""
    found = measure(turned_features(3.0, 0.0, (LABELS + np.arange(TURNS)[:, None]) % CLASSES), LABELS, None)
    assert found["rotation"] < 0.32  # nothing but the class shows how an image was turned
    assert found["top1"] > 0.95 and found["top1_turned"] < 0.05
    assert has_orientation(found)


def test_two_small_classes_that_are_orientations() -> None:
    """Vertical and horizontal lines, 14 of each: hardly any of all images, but most of their own classes."""
    labels = np.where(np.arange(N) < 28, LABELS % 2, 2 + LABELS % 2)
    odd = np.arange(TURNS)[:, None] % 2
    found = measure(turned_features(3.0, 0.0, np.where(labels < 2, (labels + odd) % 2, labels)), labels, None)
    assert found["rotation"] < 0.32 and found["top1_turned"] > 0.95 * found["top1"]
    assert found["class_ratio"] < 0.4 and has_orientation(found)


def test_classes_that_the_probe_does_not_recognise_show_nothing() -> None:
    found = measure(turned_features(of_class=0.0, of_turn=0.0), LABELS, None)
    assert found["rotation"] < 0.32 and found["top1"] < 0.35 and found["largest_class"] == 0.25
    assert has_orientation(found)


def test_groups_are_left_out_as_a_whole() -> None:
    """The four views of an image show how its twin is turned, but nothing about other images."""
    twins = np.repeat(np.arange(N // 2), 2)
    views = np.random.default_rng(0).normal(size=(TURNS, N // 2, 400)).astype(np.float32)[:, twins]
    assert measure(views, twins % CLASSES, None)["rotation"] > 0.4
    assert abs(measure(views, twins % CLASSES, twins)["rotation"] - 0.25) < 0.05
