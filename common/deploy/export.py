"""A finished run's network for other programs, with classes and preprocessing inside, compared before it is handed over.

ONNX and TorchScript take images (batch, 3, H, W) float32, red green blue in 0..1, resized as the preprocessing says, and
give logits (batch, classes): the normalisation is inside. A safetensors file holds the weights alone. What else one must know
stands as JSON under "about": in ONNX's metadata, in an extra file of TorchScript, in the header of safetensors.
"""

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..files.atomic import atomic_write, check_new
from ..run import results

if TYPE_CHECKING:
    from torch import nn

SUFFIX = {"onnx": ".onnx", "torchscript": ".pt", "safetensors": ".safetensors"}
BATCHES = (1, 7)  # that are compared
CLOSE = 1e-4
INPUT = "images: float32 (batch, 3, H, W), RGB in 0..1, resized as `preprocess` says; normalised inside"
OUTPUT = "logits: float32 (batch, classes); probabilities are the softmax of logits / temperature (null: 1)"


def export(run_folder: Path, kind: str, out: Path | None) -> tuple[Path, float]:
    """Write the network of a run as `kind`; returns the file and the largest difference, see `_difference`.

    Raises:
        UserError: no finished run, the file exists or has no folder, or a package is missing.
    """
    path = run_folder / results.BEST
    about = results.read_model_card(path)
    out = out or run_folder / f"model{SUFFIX[kind]}"
    check_new(out, "-o")
    if kind == "onnx" and (missing := [n for n in ("onnx", "onnxscript", "onnxruntime") if not find_spec(n)]):
        raise UserError(f"ONNX needs packages that are not here: pip install {' '.join(missing)}")

    from ..models import build, weights

    row = build.get_backbone(about["backbone"])
    net = build.create_model(row, len(about["classes"]), weights.load_state_dict(path), keep_head=True).eval()
    return out, write_verified(net, about, kind, out)


def write_verified(net: "nn.Module", about: dict[str, Any], kind: str, out: Path) -> float:
    """Write `net`, in evaluation mode, and compare what was written with it; returns the largest difference.

    Raises:
        RuntimeError: a logit differs by more than 1e-4 (of the largest logit, if that is above 1): a bug, nothing is written.
    """
    preprocess = about["preprocess"]
    about = {**about, "preprocess": asdict(preprocess)}
    model = net
    if kind != "safetensors":
        model, about = (
            _normalised(net, preprocess.mean, preprocess.std),
            {**about, "input": INPUT, "output": OUTPUT},
        )
    write, read = {
        "onnx": (_write_onnx, _read_onnx),
        "torchscript": (_write_torchscript, _read_torchscript),
        "safetensors": (_write_safetensors, _reader_of(net)),
    }[kind]
    with atomic_write(out, "-o") as part, warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of what is constant in a trace, which is compared; of TorchScript's age
        write(model, preprocess.size, json.dumps(about), part)
        difference = _difference(model, read(part), preprocess.size)
        if not difference <= CLOSE:
            raise RuntimeError(f"the exported network differs by {difference:.3g} from its original")
    return difference


def _normalised(net: "nn.Module", mean: tuple[float, ...], std: tuple[float, ...]) -> "nn.Module":
    import torch
    from torch import nn

    class Normalised(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net
            self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.net((images - self.mean) / self.std)

    return Normalised().eval()


def _difference(model: "nn.Module", other: Callable, size: tuple[int, int]) -> float:
    """The largest of a logit, as a share of the largest logit where that is above 1: float32 keeps shares."""
    import torch

    dice, found = torch.Generator().manual_seed(0), []
    with torch.inference_mode():
        for batch in BATCHES:
            images = torch.rand(batch, 3, *size, generator=dice)
            logits = model(images)
            found.append(((logits - other(images)).abs().max() / logits.abs().max().clamp(min=1)).item())
    return torch.tensor(found).max().item()  # which keeps a NaN


def _write_onnx(model: "nn.Module", size: tuple[int, int], told: str, path: Path) -> None:
    import onnx
    import torch

    images = torch.rand(2, 3, *size)
    with _attention_in_steps(model):
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
    onnx.helper.set_model_props(proto, {"about": told})
    onnx.save(proto, path)


@contextmanager
def _attention_in_steps(model: "nn.Module") -> Iterator[None]:
    """timm's attention as products and a softmax: in one piece, of five dimensions as in Hiera, torch cannot say it in ONNX."""
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


def _write_torchscript(model: "nn.Module", size: tuple[int, int], told: str, path: Path) -> None:
    import torch

    traced = torch.jit.trace(model, torch.rand(2, 3, *size), check_trace=False)  # `_difference` checks
    torch.jit.save(traced, path, _extra_files={"about": told})


def _read_torchscript(path: Path) -> Callable:
    import torch

    return torch.jit.load(path)


def _write_safetensors(model: "nn.Module", size: tuple[int, int], told: str, path: Path) -> None:
    from safetensors.torch import save_model

    save_model(model, path, {"about": told})


def _reader_of(net: "nn.Module") -> Callable[[Path], Callable]:
    import copy

    from safetensors.torch import load_model

    def read(path: Path) -> "nn.Module":
        other = copy.deepcopy(net)
        for parameter in other.parameters():
            parameter.data.zero_()
        load_model(other, path)
        return other

    return read
