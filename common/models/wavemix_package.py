"""The PyPI package `wavemix` 0.2.4 (MIT, Pranav Jeevan), importable under NumPy 2 and usable on any device.

The package imports `numpy.lib.function_base`, which NumPy 2 removed, for a name that it never uses; it creates wavelet
filters on the first GPU of the machine; and its backward pass fails under autocast.
"""

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import cache
from types import ModuleType
from unittest.mock import patch

import torch
from torch import Tensor, nn

LEVELS = (1, 2, 3, 4)


@cache
def load_package() -> ModuleType:
    """The module `wavemix` with `wavemix.classification`, patched."""
    numpy_1 = ModuleType("numpy.lib.function_base")
    numpy_1.hamming = None
    sys.modules[numpy_1.__name__] = numpy_1
    try:
        with patch.object(torch.cuda, "is_available", lambda: False), torch.device("cpu"):
            import wavemix.classification
    finally:
        del sys.modules[numpy_1.__name__]
    for levels in LEVELS:
        setattr(wavemix, f"xf{levels}", _wavelet_transform(wavemix, levels))
    return wavemix


def reference_wavemix(**config: object) -> nn.Module:
    """The package's network, unchanged: (B, 3, H, W) -> logits, H and W multiples of 2^level patches."""
    return load_package().classification.WaveMix(**config)


def _wavelet_transform(package: ModuleType, levels: int) -> Callable[[Tensor], tuple[Tensor, list[Tensor]]]:
    """The package's Haar transform, in float32 and with its filters on the device of the input."""

    @cache
    def transform_on(device: torch.device) -> nn.Module:
        with torch.device("cpu"), torch.inference_mode(False):
            return package.DWTForward(J=levels, mode="zero", wave="db1").to(device)

    def transform(x: Tensor) -> tuple[Tensor, list[Tensor]]:
        with nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False):
            return transform_on(x.device)(x.float())

    return transform
