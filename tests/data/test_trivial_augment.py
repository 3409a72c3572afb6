"""TrivialAugment equals torchvision's: operations pixel by pixel, draws in distribution, whatever the batch."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare
from torch import Tensor
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from common.data.augment.trivial_augment import OPERATIONS, apply, sample_params

SPACE = TrivialAugmentWide()._augmentation_space(31)  # operation: its magnitudes, signed?
NAMES = list(SPACE)
SIZES = [(32, 32), (33, 20), (63, 96), (2, 5), (224, 224)]  # (height, width)
TIES = ("ShearX", "ShearY", "Rotate")  # a source between two pixels may take either


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_images(n: int, height: int, width: int) -> Tensor:
    """(n, 3, height, width) uint8: smooth colours under noise, some of it beyond black and white."""
    coarse = torch.rand(n, 3, 4, 5, generator=generator())
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic") * 300 - 20
    noise = 8 * torch.randn(n, 3, height, width, generator=generator(1))
    return (smooth + noise).clamp(0, 255).byte()


def every_magnitude(name: str) -> list[float]:
    magnitudes, signed = SPACE[name]
    values = magnitudes.float().reshape(-1)
    return (torch.cat([values, -values]) if signed else values).tolist()


def ours(image: Tensor, name: str, magnitudes: list[float]) -> Tensor:
    """(3, H, W) uint8 -> (magnitudes, 3, H, W), ours."""
    n = len(magnitudes)
    batch = image.float().expand(n, -1, -1, -1)
    return apply(batch, torch.full((n,), NAMES.index(name)), torch.tensor(magnitudes))


def torchvision_result(image: Tensor | Image.Image, name: str, magnitudes: list[float]) -> Tensor:
    """The same of torchvision, one by one."""
    results = [_apply_op(image, name, m, InterpolationMode.NEAREST, None) for m in magnitudes]
    if isinstance(image, Image.Image):
        results = [torch.from_numpy(np.array(result)).permute(2, 0, 1) for result in results]
    return torch.stack(results).float()


def worst_fraction(different: Tensor) -> float:
    """(n, 3, H, W) bool -> the largest fraction of different pixels of an image."""
    return different.any(1).float().mean((1, 2)).max().item()


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_equals_torchvision_on_tensors(name: str, size: tuple[int, int]) -> None:
    """Equal; ties may fall elsewhere where the product of matrices in torchvision rounds otherwise (here: none does)."""
    image = make_images(1, *size)[0]
    magnitudes = every_magnitude(name)
    result = ours(image, name, magnitudes)
    assert result.dtype == torch.float32 and torch.equal(result, result.byte().float())
    assert worst_fraction(result != torchvision_result(image, name, magnitudes)) <= (0.001 if name in TIES else 0)


@pytest.mark.parametrize("size", SIZES[:3], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_an_operation_nearly_equals_torchvision_on_pil_images(name: str, size: tuple[int, int]) -> None:
    image = make_images(1, *size)[0]
    odd = (size[0] - size[1]) % 2  # then every pixel turned by 90 degrees lies between two
    magnitudes = [m for m in every_magnitude(name) if not (name == "Rotate" and odd and abs(m) == 90)]
    pil = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    apart = (ours(image, name, magnitudes) - torchvision_result(pil, name, magnitudes)).abs()
    levels = {"Color": 1, "Sharpness": 1, "AutoContrast": 1, "Contrast": 2}
    assert worst_fraction(apart > levels.get(name, 0)) <= (0.025 if name in TIES else 0)
    if name == "AutoContrast":
        assert worst_fraction(apart > 0) <= 0.05


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize"])
def test_channels_of_one_or_two_levels(name: str) -> None:
    flat = torch.tensor([0, 7, 255], dtype=torch.uint8).view(3, 1, 1).expand(3, 20, 30)
    assert torch.equal(ours(flat, name, [0])[0], flat.float())
    spot = flat.clone()
    spot[:, 4, 5] = torch.tensor([255, 8, 254])
    half = flat.clone()
    half[:, :10] = torch.tensor([1, 200, 3]).view(3, 1, 1)
    for image in (spot, half):
        assert torch.equal(ours(image, name, [0]), torchvision_result(image, name, [0]))


def test_directions_and_strengths() -> None:
    """Right and down are positive, rotations are counter-clockwise, a factor is relative."""
    image = torch.zeros(3, 5, 5, dtype=torch.uint8)
    image[:, 2, 1] = 200

    def bright(name: str, magnitude: float) -> list[list[int]]:
        return ours(image, name, [magnitude])[0, 0].nonzero().tolist()

    assert bright("Identity", 0) == [[2, 1]]
    assert bright("TranslateX", 2.9) == [[2, 3]] and bright("TranslateY", -1.5) == [[1, 1]]
    assert bright("Rotate", 90) == [[3, 2]] and bright("TranslateX", -2) == []
    assert ours(image, "Brightness", [-0.5]).max() == 100 and ours(image, "Brightness", [0.9]).max() == 255
    assert ours(image, "Posterize", [2]).max() == 192 and ours(image, "Solarize", [100]).max() == 55


def mixed(n: int = 40, height: int = 17, width: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    """Every operation at least twice, in no order."""
    operations = torch.arange(n)[torch.randperm(n, generator=generator())] % len(NAMES)
    choice = torch.randint(31, (n,), generator=generator(1))
    magnitudes = torch.stack([OPERATIONS[NAMES[o]][1][c, o % 2] for o, c in zip(operations, choice, strict=True)])
    return make_images(n, height, width).float(), operations, magnitudes


def test_a_mixed_batch_equals_its_images_one_by_one_in_any_order() -> None:
    images, operations, magnitudes = mixed()
    together = apply(images, operations, magnitudes)
    single = [apply(images[i : i + 1], operations[i : i + 1], magnitudes[i : i + 1]) for i in range(len(images))]
    assert torch.equal(together, torch.cat(single))
    order = torch.randperm(len(images), generator=generator(2))
    assert torch.equal(apply(images[order], operations[order], magnitudes[order]), together[order])


def test_memory_format_does_not_matter_and_the_input_is_unchanged() -> None:
    images, operations, magnitudes = mixed()
    before = images.clone(), operations.clone(), magnitudes.clone()
    contiguous = apply(images, operations, magnitudes)
    assert all(torch.equal(a, b) for a, b in zip((images, operations, magnitudes), before, strict=True))
    last = images.contiguous(memory_format=torch.channels_last)
    assert torch.equal(apply(last, operations, magnitudes), contiguous) and torch.equal(last, images)
    identity = apply(images[:3], torch.zeros(3, dtype=torch.long), torch.zeros(3))
    assert torch.equal(identity, images[:3]) and identity.data_ptr() != images.data_ptr()


def test_nothing_waits_for_the_device() -> None:
    """On the meta device, whatever needs the value of a pixel or an index raises."""
    images, operations, magnitudes = mixed()
    assert apply(images.to("meta"), operations, magnitudes).shape == images.shape


def test_magnitudes_equal_torchvision() -> None:
    assert list(OPERATIONS) == NAMES
    for name, (_, ours) in OPERATIONS.items():
        assert ours.shape == (31, 2) and ours.dtype == torch.float32
        assert sorted(set(ours.flatten().tolist())) == sorted(set(every_magnitude(name)))


def test_draws_are_as_frequent_as_in_torchvision() -> None:
    n = 50_000
    expected: dict[tuple[int, float], float] = {}
    for o, name in enumerate(NAMES):
        magnitudes = every_magnitude(name)
        for m in magnitudes:  # -0 and 0 are one, and so are five bins of Posterize
            expected[o, m] = expected.get((o, m), 0) + n / len(NAMES) / len(magnitudes)
    operations, magnitudes = sample_params(n, generator(7))
    assert operations.dtype == torch.int64 and magnitudes.dtype == torch.float32
    counts = dict.fromkeys(expected, 0)
    for case in zip(operations.tolist(), magnitudes.tolist(), strict=True):
        counts[case] += 1  # a case that torchvision does not have is a KeyError
    assert min(counts.values()) > 0
    assert chisquare(list(counts.values()), list(expected.values())).pvalue > 0.01
    assert chisquare(operations.bincount()).pvalue > 0.01


def test_a_sample_depends_only_on_the_generator_and_its_position() -> None:
    longer, shorter = sample_params(1000, generator(3)), sample_params(17, generator(3))
    assert all(torch.equal(a[:17], b) for a, b in zip(longer, shorter, strict=True))
    assert not torch.equal(longer[0], sample_params(1000, generator(4))[0])
    used, fresh = generator(5), generator(5)
    sample_params(10, used)
    torch.randint(2, (10,), generator=fresh)  # one number per sample, whatever it became
    assert torch.equal(torch.rand(3, generator=used), torch.rand(3, generator=fresh))
