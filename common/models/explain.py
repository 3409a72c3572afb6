"""The regions of an image that support a class: Grad-CAM, or the gradient of the input for networks that end in no map.

Grad-CAM is Selvaraju et al. 2017 (https://arxiv.org/abs/1610.02391), equations 1 and 2. It is six lines here, too few for a
dependency of every user; the tests compare it with captum's. The package grad-cam requires OpenCV.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.loader import Batches
from ..files.atomic import atomic_write

GRAD_CAM, GRADIENT = "Grad-CAM", "the gradient of the input"
SMOOTHING = 14  # the gradient is averaged over squares of a side / 14: single pixels are noise
MIN_SIDE = 224  # pixels of a picture
OPACITY = 0.5


@dataclass(frozen=True)
class Explainer:
    method: str  # GRAD_CAM or GRADIENT
    explain: Callable[[Tensor, Tensor], Tensor]  # (B, 3, H, W) normalised, (B,) classes -> (B, H, W) in 0..1


def make_explainer(net: nn.Module, size: tuple[int, int]) -> Explainer:
    """The method for a network in evaluation mode of images of (H, W) pixels."""
    layer = final_map(net, torch.zeros(1, 3, *size, device=next(net.parameters()).device))
    if layer is None:
        return Explainer(GRADIENT, lambda images, classes: input_gradient(net, images, classes))
    return Explainer(GRAD_CAM, lambda images, classes: grad_cam(net, layer, images, classes))


def final_map(net: nn.Module, image: Tensor) -> nn.Module | None:
    """The last layer that computes a map (1, C, h, w); None if tokens or channels-last maps come after it."""
    layers: list[tuple[nn.Module, bool]] = []  # those with more than one position, and whether they compute a map

    def record(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() > 2 and output[0, 0].numel() > 1:
            layers.append((module, _is_map(output, image)))

    hooks = [module.register_forward_hook(record) for module in net.modules()]
    try:
        with torch.inference_mode():
            net(image)
    finally:
        for hook in hooks:
            hook.remove()
    layer, is_map = layers[-1] if layers else (None, False)
    return layer if is_map else None


def _is_map(output: Tensor, image: Tensor) -> bool:
    """Whether the output is (1, C, h, w) with h and w those of the image divided by one stride, rounded."""
    if output.dim() != 4:
        return False
    (h, w), (height, width) = output.shape[2:], image.shape[2:]
    return abs(h * width - w * height) < height + width


def grad_cam(net: nn.Module, layer: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """(B, H, W) in 0..1: where the map of `layer` raises the logit of each image's class."""
    maps: list[Tensor] = []
    hook = layer.register_forward_hook(lambda module, inputs, output: maps.append(output))
    try:
        with torch.enable_grad():
            logits = net(images)
            (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), maps[-1])
    finally:
        hook.remove()
    weights = gradient.mean((2, 3), keepdim=True)
    heat = (weights * maps[-1].detach()).sum(1, keepdim=True).relu()
    return _scaled(F.interpolate(heat.float(), images.shape[2:], mode="bilinear")[:, 0])


def input_gradient(net: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """(B, H, W) in 0..1: the largest absolute gradient of the logit over the channels of a pixel.

    Simonyan et al. 2014, https://arxiv.org/abs/1312.6034, section 3.1; smoothed.
    """
    images = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = net(images)
        (gradient,) = torch.autograd.grad(logits.gather(1, classes[:, None]).sum(), images)
    side = max(1, min(images.shape[2:]) // SMOOTHING) // 2 * 2 + 1
    heat = gradient.abs().amax(1, keepdim=True)
    return _scaled(F.avg_pool2d(heat, side, 1, side // 2, count_include_pad=False)[:, 0])


def _scaled(heat: Tensor) -> Tensor:
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)


def explained_pictures(net: nn.Module, batches: Batches) -> Iterator[Image.Image]:
    """A `picture` per image: the regions that support its label. The network is in evaluation mode."""
    explainer, i = make_explainer(net, batches.preprocess.size), 0
    for images, classes in batches.eval():
        for heat in explainer.explain(images, classes).cpu().numpy():
            yield picture(batches.display(i), heat)
            i += 1


def picture(pixels: np.ndarray, heat: np.ndarray) -> Image.Image:
    """(H, W, 3) uint8 and (H, W) in 0..1 -> the image and, on its right, the image under the heat."""
    from matplotlib import colormaps

    colours = 255 * colormaps["inferno"](heat)[..., :3]
    overlay = (OPACITY * colours + (1 - OPACITY) * pixels).round().astype(np.uint8)
    both = Image.fromarray(np.concatenate([pixels, overlay], axis=1))
    scale = max(1, -(-MIN_SIDE // min(pixels.shape[:2])))
    return both.resize((both.width * scale, both.height * scale), Image.Resampling.NEAREST)


def write_picture(path: Path, pixels: np.ndarray, heat: np.ndarray) -> None:
    with atomic_write(path, "--explain") as part:
        picture(pixels, heat).save(part)
