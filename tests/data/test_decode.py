"""Decoding: from a file or an array to pixels of one size."""

import numpy as np
import pytest
from miniatures import picture
from PIL import Image

from common.data.images.decode import decode
from common.files import threads
from common.spec import Preprocess


def test_squash() -> None:
    """The whole image whatever its proportions, as torchvision's Resize([h, w])."""
    image = np.asarray(picture(0, (96, 48)))
    preprocess = Preprocess(
        size=(32, 32), crop=1.0, interpolation="bilinear", squash=True, mean=(0.5,) * 3, std=(0.5,) * 3
    )
    pixels, _ = decode(image[None], preprocess, None)
    expected = Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels[0], np.asarray(expected))


def test_threads_keep_the_order_and_drop_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "BLOCK", 3)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: 1)
    assert list(threads.thread_map(str, range(8), "count")) == list("01234567")

    started = []

    def fail(i: int) -> None:
        started.append(i)
        raise ValueError

    with pytest.raises(ValueError):
        list(threads.thread_map(fail, range(8), "count"))
    assert max(started) < 3  # the first block at most
