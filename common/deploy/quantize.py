"""Static int8 quantisation of an ONNX network by ONNX Runtime, calibrated on images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

BATCH = 8


class Images(CalibrationDataReader):
    def __init__(self, images: np.ndarray):
        self.batches: Iterator[np.ndarray] = iter(np.array_split(images, max(1, len(images) // BATCH)))

    def get_next(self) -> dict[str, np.ndarray] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"images": batch}


def quantize(model: Path, out: Path, images: np.ndarray) -> None:
    """Write `model` with int8 weights, per channel, and uint8 activations.

    `images`: (N, 3, H, W) float32 as the network takes them, never of the test set; their range of activations sets the
    scales (Jacob et al. 2018, https://arxiv.org/abs/1712.05877, section 3).
    """
    prepared = out.with_name("prepared.onnx")
    quant_pre_process(str(model), str(prepared), skip_symbolic_shape=True)
    quantize_static(
        str(prepared),
        str(out),
        Images(images),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    prepared.unlink()
