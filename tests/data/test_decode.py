"""Decoding: from a file or an array to pixels of one size."""

import numpy as np
from miniatures import picture
from PIL import Image

from common.data.images.decode import decode
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
