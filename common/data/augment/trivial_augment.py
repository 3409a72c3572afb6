"""TrivialAugment (wide): one random operation of random strength per image, for a whole batch on its device.

Mueller & Hutter 2021, https://arxiv.org/abs/2103.10158: no policy to search and nothing to tune. Operations and
magnitudes are those of torchvision.transforms.TrivialAugmentWide with its defaults: 31 bins, nearest neighbours,
black outside the image.

The pixels equal torchvision's on a uint8 tensor, truncated instead of rounded. On a PIL image torchvision differs:
    ShearX, ShearY, Rotate   another neighbour if two are equally near: for up to 2 % of 32 x 32 pixels, 0.5 % of
                             224 x 224, and half of them at 90 degrees if height and width differ by an odd number
    Color, Sharpness         1 grey level more or less: it rounds the grey, and blends in another order
    Contrast                 up to 2, because it rounds the mean too
    AutoContrast             1 for few pixels; the others are equal

Shapes: n samples, B images in the batch. Images are (B, 3, H, W) float32, whole numbers 0..255. An operation gets
a contiguous copy, which it may overwrite, and magnitudes (B, 1, 1, 1) on the same device.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..to_device import to_device

BINS = 31  # magnitudes of an operation, the weakest first
_Row = tuple[Tensor | float, Tensor | float, Tensor | float]  # of an affine matrix


def identity(images: Tensor, _: Tensor) -> Tensor:
    return images


def shear_x(images: Tensor, slopes: Tensor) -> Tensor:
    """Rows move left by their distance from the top."""
    return _resample(images, (1, slopes, slopes * (images.shape[2] / 2)), (0, 1, 0))


def shear_y(images: Tensor, slopes: Tensor) -> Tensor:
    """Columns move up by their distance from the left."""
    return _resample(images, (1, 0, 0), (slopes, 1, slopes * (images.shape[3] / 2)))


def translate_x(images: Tensor, pixels: Tensor) -> Tensor:
    return _resample(images, (1, 0, -pixels.trunc()), (0, 1, 0))


def translate_y(images: Tensor, pixels: Tensor) -> Tensor:
    return _resample(images, (1, 0, 0), (0, 1, -pixels.trunc()))


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """Counter-clockwise around the centre."""
    angles = degrees.double().deg2rad()  # in float32 the cosine of 90 degrees is too far from 0
    cos, sin = angles.cos().float(), angles.sin().float()
    return _resample(images, (cos, -sin, 0), (sin, cos, 0))


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    return _truncate(images.mul_(1 + factors))


def color(images: Tensor, factors: Tensor) -> Tensor:
    return _extrapolate(images, _grayscale(images), factors)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    return _extrapolate(images, _grayscale(images).mean((1, 2, 3), keepdim=True), factors)


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with a 3 x 3 blur of weights 1 and, in the centre, 5; a border of one pixel is not blurred."""
    if min(images.shape[2:]) < 3:
        return images
    inner = images[..., 1:-1, 1:-1]
    sums = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    sums = sums[..., :-2] + sums[..., 1:-1] + sums[..., 2:]  # of whole numbers: exact
    blurred = images.clone()
    blurred[..., 1:-1, 1:-1] = sums.add_(inner, alpha=4).div_(13).round_()
    return _extrapolate(images, blurred, factors)


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    return (images.int() & -(1 << (8 - bits.int()))).float()


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the levels from the threshold on. (`torch.where` is several times slower on a CPU.)"""
    inverted = images.clone().ge_(thresholds)  # 0 or 1
    return images.sub_(inverted, alpha=255).abs_()


def autocontrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch every channel to 0..255, except channels of a single level."""
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    varied = high > low
    scale = torch.where(varied, 255 / (high - low), 1)
    return _truncate(images.sub_(torch.where(varied, low, 0)).mul_(scale))


def equalize(images: Tensor, _: Tensor) -> Tensor:
    """Histogram equalization of every channel, except channels of almost a single level."""
    levels = images.flatten(2).long()
    counts = torch.zeros(len(images), 3, 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, levels, counts.new_ones(1).expand_as(levels))
    brightest = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - brightest) // 255
    darker = counts.cumsum(2, dtype=torch.int32) - counts
    lut = ((darker + step // 2) // step.clamp(min=1)).clamp(max=255)
    lut = torch.where(step > 0, lut, torch.arange(256, dtype=torch.int32, device=images.device))
    return lut.float().gather(2, levels).view_as(images)


def _resample(images: Tensor, x_from: _Row, y_from: _Row) -> Tensor:
    """Nearest-neighbour sampling at the source coordinates `x_from` and `y_from`: factors of x, of y, and an offset, in
    pixels from the centre."""
    height, width = images.shape[2:]
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y = (torch.arange(height, device=images.device) - (height - 1) / 2)[:, None]
    grid = images.new_empty(len(images), 2, height, width)
    for axis, (half, (x_factor, y_factor, offset)) in enumerate(((width / 2, x_from), (height / 2, y_from))):
        # no matrix product, which a GPU may compute in TF32; summed in torchvision's order, for its ties
        grid[:, axis : axis + 1] = x_factor / half * x + y_factor / half * y + offset / half
    return F.grid_sample(images, grid.permute(0, 2, 3, 1), mode="nearest", align_corners=False)


def _grayscale(images: Tensor) -> Tensor:
    """(B, 1, H, W)"""
    red, green, blue = images.split(1, 1)
    return (0.2989 * red + 0.587 * green + 0.114 * blue).floor_()


def _extrapolate(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    """Factor -1 is `others`, 0 is `images`, 1 as far on the opposite side. Two products: torchvision's rounding."""
    return _truncate(images.mul_(1 + factors).sub_(others * factors))


def _truncate(images: Tensor) -> Tensor:
    """To whole numbers 0..255, as a saturating cast to uint8."""
    return images.clamp_(0, 255).floor_()


def _unsigned(first: float, last: float) -> Tensor:
    return torch.linspace(first, last, BINS)[:, None].expand(-1, 2)


def _signed(last: float) -> Tensor:
    return _unsigned(0, last) * torch.tensor([1, -1])


# operation: (function, magnitudes (31 bins, 2 signs)), all equally likely
OPERATIONS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = {
    "Identity": (identity, _unsigned(0, 0)),
    "ShearX": (shear_x, _signed(0.99)),  # pixels per pixel
    "ShearY": (shear_y, _signed(0.99)),
    "TranslateX": (translate_x, _signed(32)),  # pixels
    "TranslateY": (translate_y, _signed(32)),
    "Rotate": (rotate, _signed(135)),  # degrees
    "Brightness": (brightness, _signed(0.99)),
    "Color": (color, _signed(0.99)),
    "Contrast": (contrast, _signed(0.99)),
    "Sharpness": (sharpness, _signed(0.99)),
    "Posterize": (posterize, _unsigned(8, 2).round()),  # bits kept
    "Solarize": (solarize, _unsigned(255, 0)),  # the lowest inverted level
    "AutoContrast": (autocontrast, _unsigned(0, 0)),
    "Equalize": (equalize, _unsigned(0, 0)),
}
CHOICES = torch.stack([magnitudes for _, magnitudes in OPERATIONS.values()]).flatten()


def sample_params(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Operation (n,) int64 and magnitude (n,) float32; sample i depends on the generator and i, not on n."""
    choices = torch.randint(len(CHOICES), (n,), generator=generator)  # operation, bin and sign in one number
    return choices // (2 * BINS), CHOICES[choices]


def apply(images: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """(B, 3, H, W) on any device, (B,) int64 and (B,) float32 on the CPU -> new (B, 3, H, W) on the device.

    Each operation runs once, on all its images. They are grouped on the CPU, so that nothing waits for the device.
    """
    order = operations.argsort(stable=True)
    counts = operations.bincount(minlength=len(OPERATIONS)).tolist()
    params = order, magnitudes[order].view(-1, 1, 1, 1)
    groups = (to_device(each, images.device).split(counts) for each in params)
    augmented = images.new_empty(images.shape)
    flat = augmented.view(len(images), -1)  # rows are copied faster than images
    for (operation, _), indices, strengths in zip(OPERATIONS.values(), *groups, strict=True):
        if len(indices):
            flat.index_copy_(0, indices, operation(images.index_select(0, indices), strengths).flatten(1))
    return augmented
