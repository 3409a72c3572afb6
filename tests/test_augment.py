"""Random changes: reproducible per sample, and each what its name says."""

import torch

from common import Augment
from common.data.augment import apply, draw

ALL = Augment(crop=0.5, dihedral=True)


def test_a_sample_depends_on_seed_and_epoch_alone() -> None:
    maps = draw(ALL, 100, seed=3, epoch=2)
    assert torch.equal(maps, draw(ALL, 100, seed=3, epoch=2))
    assert not torch.equal(maps, draw(ALL, 100, seed=3, epoch=1))
    assert not torch.equal(maps, draw(ALL, 100, seed=2, epoch=2))


def test_a_batch_of_one_gives_the_same_picture() -> None:
    images, maps = torch.rand(8, 3, 12, 12), draw(ALL, 8, 0, 0)
    together = apply(images, maps, (12, 12))
    torch.testing.assert_close(together[5:6], apply(images[5:6], maps[5:6], (12, 12)))


def test_nothing_changes_nothing() -> None:
    images = torch.rand(4, 3, 9, 7)
    torch.testing.assert_close(apply(images, draw(Augment(), 4, 0, 0), (9, 7)), images)


def test_enlarging_is_what_evaluation_does() -> None:
    images = torch.rand(2, 3, 8, 8)
    enlarged = torch.nn.functional.interpolate(images, (24, 24), mode="bilinear")
    torch.testing.assert_close(
        apply(images, draw(Augment(), 2, 0, 0), (24, 24))[..., 2:-2, 2:-2], enlarged[..., 2:-2, 2:-2]
    )


def test_flip_mirrors_half_of_them() -> None:
    images = torch.rand(200, 3, 6, 6)
    changed = apply(images, draw(Augment(flip=True), 200, 0, 0), (6, 6))
    same = [torch.allclose(a, b, atol=1e-5) for a, b in zip(changed, images, strict=True)]
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-5) for a, b in zip(changed, images, strict=True)]
    assert sum(same) + sum(mirrored) == 200 and 70 < sum(same) < 130


def test_dihedral_makes_all_eight_symmetries() -> None:
    image = torch.rand(1, 3, 6, 6)
    symmetries = [t.rot90(k, (-2, -1)) for t in (image, image.flip(-1)) for k in range(4)]
    changed = apply(image.expand(400, -1, -1, -1), draw(Augment(dihedral=True), 400, 0, 0), (6, 6))
    found = [sum(torch.allclose(c, s[0], atol=1e-5) for c in changed) for s in symmetries]
    assert sum(found) == 400 and min(found) > 25


def test_a_crop_keeps_its_share_and_stays_inside() -> None:
    maps = draw(Augment(crop=0.3), 2000, 0, 0)
    width, height = maps[:, 0, 0], maps[:, 1, 1]
    area = width * height
    assert area.min() > 0.28 and area.max() <= 1 and abs(area.mean() - 0.63) < 0.05
    assert (maps[:, 0, 2].abs() + width).max() <= 1 + 1e-6 and (
        maps[:, 1, 2].abs() + height
    ).max() <= 1 + 1e-6
    assert (width / height).max() < 1.34 and (height / width).max() < 1.34
