"""Augmentation is reproducible per sample, and every kind does what its name promises."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from common import Augment
from common.data.augment.augment import AugmentParams, _grid, apply, eval_transform, resize, sample_params
from common.data.images.decode import stored_size
from common.models.build import get_backbone

ALL = Augment(crop=0.5, dihedral=True, shift=0.1, trivial=True)
SIZE = (12, 10)


def sample(augment: Augment, n: int, size: tuple[int, int] = SIZE) -> AugmentParams:
    return sample_params(augment, n, size, seed=0, epoch=0)


def test_params_of_a_sample_depend_only_on_seed_and_epoch() -> None:
    def tensors(seed: int, epoch: int) -> list[torch.Tensor]:
        return [v for v in vars(sample_params(ALL, 100, SIZE, seed, epoch)).values() if isinstance(v, torch.Tensor)]

    first = tensors(3, 2)
    assert len(first) == 3
    for again, epoch, seed in zip(tensors(3, 2), tensors(3, 1), tensors(2, 2), strict=True):
        one = first.pop(0)
        assert torch.equal(one, again) and not torch.equal(one, epoch) and not torch.equal(one, seed)


def test_a_batch_of_one_gives_the_same_image() -> None:
    images, params = (torch.rand(30, 3, *SIZE) * 255).round(), sample(ALL, 30)
    together = apply(images, params, SIZE)
    for i in range(30):
        single = apply(images[i : i + 1], params.take(np.array([i])), SIZE)
        torch.testing.assert_close(together[i : i + 1], single, atol=1e-2, rtol=0)


def test_no_augmentation_returns_the_images() -> None:
    images = torch.rand(4, 3, 9, 7)
    assert apply(images, sample(Augment(), 4), (9, 7)) is images


def test_the_grid_equals_affine_grid() -> None:
    affine = torch.randn(5, 2, 3)
    torch.testing.assert_close(_grid(affine, (9, 7)), F.affine_grid(affine, [5, 3, 9, 7], align_corners=False))


def test_the_identity_resizes_as_evaluation_does() -> None:
    images = torch.rand(2, 3, 8, 8)
    identity = AugmentParams(torch.eye(2, 3).expand(2, 2, 3), None, None)
    torch.testing.assert_close(
        apply(images, identity, (24, 24)), F.interpolate(images, (24, 24), mode="bicubic"), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize(("crop_pct", "top", "left"), [(None, 0, 0), (0.875, 2, 1), (0.5, 8, 5)])
def test_evaluation_enlarges_the_center_of_small_images(crop_pct: float | None, top: int, left: int) -> None:
    images = torch.rand(2, 3, 32, 20)
    preprocess = replace(get_backbone("resnet50").preprocess((32, 20)), crop_pct=crop_pct)
    center = images[:, :, top : 32 - top, left : 20 - left]
    torch.testing.assert_close(eval_transform(images, preprocess), F.interpolate(center, (32, 20), mode="bicubic"))


@pytest.mark.parametrize("crop_pct", [0.5, 0.875, 0.925, None])
def test_evaluation_crops_decoded_images_without_resizing(crop_pct: float | None) -> None:
    for side in range(8, 300):
        preprocess = replace(get_backbone("resnet50").preprocess((side, 24)), crop_pct=crop_pct)
        height, width = stored_size(preprocess, None)
        images = torch.rand(1, 3, height, width)
        top, left = (height - side) // 2, (width - 24) // 2
        assert torch.equal(eval_transform(images, preprocess), images[:, :, top : top + side, left : left + 24])


@pytest.mark.parametrize("size", [(16, 8), (8, 16)])
def test_reducing_averages(size: tuple[int, int]) -> None:
    """Stripes of one pixel become gray."""
    stripes = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 3, 16, 16)
    stripes = stripes if size == (16, 8) else stripes.mT
    assert resize(stripes, size)[:, :, 2:-2, 2:-2].sub(0.5).abs().max() < 0.1


def test_flip_mirrors_half_of_the_images() -> None:
    images = torch.rand(200, 3, 6, 6)
    augmented = apply(images, sample(Augment(flip=True), 200), (6, 6))
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(augmented, images, strict=True)]
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(augmented, images, strict=True)]
    assert sum(same) + sum(mirrored) == 200 and 70 < sum(same) < 130


def test_dihedral_makes_all_eight_symmetries() -> None:
    image = torch.rand(1, 3, 6, 6)
    symmetries = [t.rot90(k, (-2, -1)) for t in (image, image.flip(-1)) for k in range(4)]
    augmented = apply(image.expand(400, -1, -1, -1), sample(Augment(dihedral=True), 400, (6, 6)), (6, 6))
    found = [sum(torch.allclose(c, s[0], atol=1e-5) for c in augmented) for s in symmetries]
    assert sum(found) == 400 and min(found) > 25


def test_dihedral_stretches_no_rectangle() -> None:
    image = torch.rand(1, 3, 4, 6)
    symmetries = [image, image.flip(-1), image.flip(-2), image.flip(-1, -2)]
    augmented = apply(image.expand(400, -1, -1, -1), sample(Augment(dihedral=True), 400, (4, 6)), (4, 6))
    found = [sum(torch.allclose(c, s[0], atol=1e-5) for c in augmented) for s in symmetries]
    assert sum(found) == 400 and min(found) > 60


def test_a_crop_covers_its_fraction_inside_the_image() -> None:
    affine = sample(Augment(crop=0.3), 2000).affine
    width, height = affine[:, 0, 0], affine[:, 1, 1]
    area = width * height
    assert area.min() > 0.28 and area.max() <= 1 and abs(area.mean() - 0.63) < 0.05
    assert (affine[:, 0, 2].abs() + width).max() <= 1 + 1e-6 and (affine[:, 1, 2].abs() + height).max() <= 1 + 1e-6
    assert (width / height).max() < 1.34 and (height / width).max() < 1.34


def test_a_shift_moves_whole_pixels_and_pads_with_black() -> None:
    """The CIFAR recipe: four pixels of padding, a crop of the old size (He et al. 2016, section 4.2)."""
    image = torch.rand(1, 3, 32, 32) + 1
    padded = F.pad(image, (4, 4, 4, 4))
    windows = {(y, x): padded[0, :, y : y + 32, x : x + 32] for y in range(9) for x in range(9)}
    shifted = apply(image.expand(600, -1, -1, -1), sample(Augment(shift=1 / 8), 600, (32, 32)), (32, 32))
    found = {
        offset: sum(torch.allclose(window, each, atol=1e-3) for each in shifted) for offset, window in windows.items()
    }
    assert sum(found.values()) == 600 and sum(map(bool, found.values())) > 75 and max(found.values()) < 25


def test_a_shift_of_nothing_pads_nothing() -> None:
    images = torch.full((1, 3, 32, 32), 200.0)
    identity = AugmentParams(torch.eye(2, 3)[None], None, None, zero_pad=True)
    torch.testing.assert_close(apply(images, identity, (224, 224)), torch.full((1, 3, 224, 224), 200.0))


def test_trivial_augment_comes_before_resampling() -> None:
    images = (torch.rand(40, 3, *SIZE) * 255).round()
    wide = sample(Augment(trivial=True), 40)
    small = apply(images, wide, SIZE)
    assert wide.affine is None and (small != images).flatten(1).any(1).sum() > 20
    large = apply(images, wide, (24, 20))
    torch.testing.assert_close(large, F.interpolate(small, (24, 20), mode="bicubic"))
