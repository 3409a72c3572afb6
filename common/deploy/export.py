"""Export of a finished run's network, with classes and preprocessing, verified against the original.

ONNX and TorchScript map images (batch, 3, H, W) float32 to logits (batch, classes). Images are cropped and resized as in
`preprocess`, RGB in 0..1 or, for a run with a value range, as stored; range and normalisation are applied inside. A
safetensors file contains only the weights. Classes, preprocessing and temperature are JSON under "about": in ONNX's
metadata, an extra file of TorchScript, the header of safetensors.
"""

import json
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..data.images.decode import eval_margins, stored_size
from ..errors import UserError
from ..files.atomic import atomic_write, check_new
from ..run import results
from ..spec import Preprocess

if TYPE_CHECKING:
    from torch import nn

SUFFIX = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
BATCH_SIZES = (1, 7)  # of the verification
TOLERANCE = 1e-4
VIEW = "resized and center-cropped as in `preprocess` (`crop`: the fraction kept of the shorter side, with `squash` of both)"
INPUT = f"images: float32 (batch, 3, H, W), RGB in 0..1, {VIEW}; normalised inside"
STORED_INPUT = (
    f"images: float32 (batch, 3, H, W), values and bands as stored, {VIEW}; "
    "`value_range` becomes 0..1, then normalised inside"
)
OUTPUT = "logits: float32 (batch, classes); probabilities are the softmax of logits / temperature (null: 1)"


def export(run_folder: Path, kind: str, out: Path | None) -> tuple[Path, float]:
    """Write the network of a run as `kind`; returns the file and the largest difference of a logit, see `check_difference`.

    Raises:
        UserError: no finished run, the file exists, its folder does not, or a package is missing.
    """
    card = results.read_model_card(run_folder / results.BEST)
    out = out or run_folder / f"model{SUFFIX[kind]}"
    check_new(out, "-o")
    if kind == "onnx":
        check_onnx_packages()

    from .load import load_model

    return out, write_verified(load_model(run_folder, card).net, card, kind, out)


def check_onnx_packages() -> None:
    """Raises: UserError: a package that ONNX needs is missing."""
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not find_spec(name)]:
        raise UserError(f"ONNX export needs more packages: pip install {' '.join(missing)}")


def write_verified(net: "nn.Module", card: dict[str, Any], kind: str, out: Path) -> float:
    """Write `net`, in evaluation mode, read the file and compare logits; returns the largest difference.

    Raises:
        RuntimeError: a logit differs by more than `TOLERANCE` (a bug); nothing is written.
    """
    preprocess = card["preprocess"]
    metadata = {**card, "preprocess": with_one_crop(card).to_dict()}
    model = net
    if kind != "safetensors":
        model = with_normalisation(net, preprocess)
        metadata |= {"input": STORED_INPUT if preprocess.value_range else INPUT, "output": OUTPUT}
    write, read = {
        "onnx": (_write_onnx, _read_onnx),
        "torchscript": (_write_torchscript, _read_torchscript),
        "safetensors": (_write_safetensors, _safetensors_reader(net)),
    }[kind]
    with atomic_write(out, "-o") as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constants of a trace, which is verified; TorchScript's deprecation
        write(model, preprocess.size, json.dumps(metadata), part)
        return check_difference(model, read(part), preprocess)


def with_one_crop(card: dict[str, Any]) -> Preprocess:
    """For programs that crop once: the part of an image that evaluation sees in `crop` alone, without `crop_pct`.

    Rounded down, so that timm, which truncates size / crop, resizes to exactly `stored_size`.
    """
    preprocess = card["preprocess"]
    size = stored_size(preprocess, card["native"])
    seen = 1 - 2 * min(eval_margins(size, preprocess)) / min(size)
    return replace(preprocess, crop=preprocess.crop * math.floor(1e4 * seen) / 1e4, crop_pct=None)


def with_normalisation(net: "nn.Module", preprocess: Preprocess) -> "nn.Module":
    """`net` for images as in `INPUT` or `STORED_INPUT`, in evaluation mode."""
    import torch
    from torch import nn

    low, high = preprocess.value_range or (0.0, 1.0)

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.register_buffer("mean", torch.tensor(preprocess.mean).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(preprocess.std).view(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            if preprocess.value_range:
                images = ((images - low) / (high - low)).clamp(0, 1)
            return self.net((images - self.mean) / self.std)

    return Normalised().eval()


def check_difference(model: "nn.Module", other: Callable, preprocess: Preprocess) -> float:
    """The largest difference of a logit on random images, relative to the largest logit if that is above 1.

    Raises:
        RuntimeError: more than `TOLERANCE` (a bug).
    """
    import torch

    low, high = preprocess.value_range or (0.0, 1.0)
    generator, differences = torch.Generator().manual_seed(0), []
    with torch.inference_mode():
        for batch_size in BATCH_SIZES:
            images = low + (high - low) * torch.rand(batch_size, 3, *preprocess.size, generator=generator)
            logits = model(images)
            difference = (logits - other(images)).abs().max() / logits.abs().max().clamp(min=1)
            differences.append(difference.item())
    largest = torch.tensor(differences).max().item()  # unlike max(), propagates NaN
    if not largest <= TOLERANCE:
        raise RuntimeError(f"the exported network differs by {largest:.3g} from its original")
    return largest


def _write_onnx(model: "nn.Module", size: tuple[int, int], metadata: str, path: Path) -> None:
    import onnx
    import torch

    images = torch.rand(2, 3, *size)
    with _unfused_attention(model):
        program = torch.onnx.export(
            model,
            (images,),
            dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            input_names=["images"],
            output_names=["logits"],
            verbose=False,
        )
    proto = program.model_proto
    onnx.helper.set_model_props(proto, {"about": metadata})
    onnx.save(proto, path)


@contextmanager
def _unfused_attention(model: "nn.Module") -> Iterator[None]:
    """timm's attention as products and a softmax: torch cannot export five-dimensional fused attention (Hiera) to ONNX."""
    fused = [module for module in model.modules() if getattr(module, "fused_attn", False)]
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True


def _read_onnx(path: Path) -> Callable:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _write_torchscript(model: "nn.Module", size: tuple[int, int], metadata: str, path: Path) -> None:
    import torch

    traced = torch.jit.trace(model, torch.rand(2, 3, *size), check_trace=False)  # `check_difference` compares
    torch.jit.save(traced, path, _extra_files={"about": metadata})


def _read_torchscript(path: Path) -> Callable:
    import torch

    return torch.jit.load(path)


def _write_safetensors(model: "nn.Module", size: tuple[int, int], metadata: str, path: Path) -> None:
    from safetensors.torch import save_model

    save_model(model, path, {"about": metadata})


def _safetensors_reader(net: "nn.Module") -> Callable[[Path], Callable]:
    import copy

    from safetensors.torch import load_model

    def read(path: Path) -> "nn.Module":
        other = copy.deepcopy(net)
        for parameter in other.parameters():
            parameter.data.zero_()
        load_model(other, path)
        return other

    return read
