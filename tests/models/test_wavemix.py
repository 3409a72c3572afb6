"""WaveMix equals the package's: wavelet, parameter names, logits, gradients; it works where the package does not."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.nn import functional as F

import folder
from common import main
from common.__main__ import main as command
from common.errors import UserError
from common.models.build import create_model, get_backbone
from common.models.wavemix import Dropout, haar_kernels, pad_to_even, wavemix
from common.models.wavemix_package import load_package, reference_wavemix

SMALL = {"num_classes": 5, "depth": 2, "ff_channel": 16, "final_dim": 16, "dropout": 0.0}


@pytest.fixture(scope="module")
def package() -> ModuleType:
    return load_package()


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


def gradients(net: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.grad for name, parameter in net.named_parameters()}


def bands(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 4C, H/2, W/2): low and high, each weighed with one."""
    return F.conv2d(pad_to_even(x), haar_kernels(torch.eye(4 * x.shape[1])), stride=2)


def test_haar_of_one_cell() -> None:
    assert bands(torch.tensor([[[[1.0, 2.0], [3.0, 7.0]]]])).flatten().tolist() == [6.5, -3.5, -2.5, 1.5]


@pytest.mark.parametrize("size", [(16, 24), (13, 16), (16, 13), (7, 9), (1, 1)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_same_wavelet(package: ModuleType, levels: int, size: tuple[int, int]) -> None:
    x = torch.randn(2, 4, *size)
    low, highs = package.DWTForward(J=levels, mode="zero", wave="db1")(x)
    for expected in highs:
        x, high = bands(x).tensor_split([4], dim=1)
        torch.testing.assert_close(high, expected.flatten(1, 2), rtol=0, atol=1e-6)
    torch.testing.assert_close(x, low, rtol=0, atol=1e-6)


def test_dropout_keeps_the_mean() -> None:
    x = torch.ones(4, 25, 100, 100)
    drop = Dropout(0.2)
    assert drop(x).unique().tolist() == [0.0, 1.25]
    assert drop(x).mean().item() == pytest.approx(1, abs=0.005)  # ten standard errors
    assert drop.eval()(x) is x


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_same_logits_and_gradients(level: int, training: bool) -> None:
    reference = reference_wavemix(**SMALL, level=level)
    reference(torch.randn(4, 3, 64, 64))  # batch norm gets statistics other than 0 and 1
    net = wavemix(**SMALL, level=level)
    net.load_state_dict(reference.state_dict(), strict=True)

    images = torch.randn(4, 3, 64, 64)
    logits, expected = net.train(training)(images), reference.train(training)(images)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)

    logits.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(gradients(net), gradients(reference), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dict(net.state_dict()), reference.state_dict(), rtol=1e-5, atol=1e-5)


def test_size_of_the_published_network() -> None:
    with torch.device("meta"):
        net = wavemix(num_classes=1000)
    assert sum(parameter.numel() for parameter in net.parameters()) == 27_857_608


def test_names_and_shapes_of_the_published_network(package: ModuleType) -> None:
    with torch.device("meta"):
        net, reference = wavemix(num_classes=1000), reference_wavemix(num_classes=1000)
    shapes, expected = (
        [(name, tensor.shape) for name, tensor in each.state_dict().items()] for each in (net, reference)
    )
    assert shapes == expected


@pytest.mark.parametrize("size", [(4, 4), (36, 52), (61, 64), (100, 75)])
def test_any_image_size(size: tuple[int, int]) -> None:
    net = wavemix(**SMALL)
    logits = net(torch.randn(3, 3, *size))
    logits.sum().backward()
    assert logits.shape == (3, 5)
    assert all(gradient.isfinite().all() for gradient in gradients(net).values())


def test_bfloat16_is_close() -> None:
    net = wavemix(**SMALL)
    images = torch.randn(4, 3, 64, 64)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(images)
    logits.sum().backward()  # outside autocast, as is usual; the package's backward fails here
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), net(images), rtol=0, atol=0.01)


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=str)
def test_channels_stay_last(precision: torch.dtype) -> None:
    """A gradient of another layout than its activation costs a copy, or twice the time, in every layer."""
    net = wavemix(**SMALL).to(memory_format=torch.channels_last)
    contiguous = []

    def check_layout(name: str) -> Callable:
        def hook(layer: nn.Module, inputs: object, gradients: tuple[Tensor, ...]) -> None:
            if not gradients[0].is_contiguous(memory_format=torch.channels_last):
                contiguous.append(name)

        return hook

    for name, layer in net.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_full_backward_hook(check_layout(name))
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        logits = net(torch.randn(4, 3, 64, 64).contiguous(memory_format=torch.channels_last))
    logits.square().sum().backward()
    assert contiguous == []


def test_is_tied_to_no_device() -> None:
    with torch.device("meta"):
        assert wavemix(**SMALL)(torch.empty(2, 3, 36, 52)).device.type == "meta"


def test_compiles_without_a_graph_break() -> None:
    net = wavemix(**SMALL)
    images = torch.randn(2, 3, 36, 52)
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images), net(images))


def test_the_reference_is_the_package() -> None:
    """The same weights give the same logits; it trains under autocast, outside of which its backward pass failed."""
    fast, reference = get_backbone("wavemix"), get_backbone("wavemix_reference")
    load_package.cache_clear()  # no filters from an earlier test
    net = create_model(reference, 3, None)
    assert type(net).__module__ == "wavemix.classification"
    assert type(net.layers[0]) is load_package().Level3Waveblock
    other = create_model(fast, 3, net.state_dict(), keep_head=True)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():  # before training, which then uses the same filters
        torch.testing.assert_close(other.eval()(images), net.eval()(images), rtol=0, atol=1e-6)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net.train()(images)
    logits.sum().backward()
    assert all(gradient.isfinite().all() for gradient in gradients(net).values())
    with pytest.raises(UserError, match="multiple of 32 pixels, not 100x100: pass --image_size 128"):
        reference.check_size((100, 100))


def test_the_package_is_imported_without_traces() -> None:
    """In a new process: NumPy has no extra module, torch its own functions, and the filters are on the CPU."""
    script = """
import sys, torch
torch.cuda.is_available = available = lambda: True  # as on a machine with a GPU
from common.models.wavemix_package import load_package
with torch.device("meta"):
    package = load_package()
assert torch.cuda.is_available is available and "numpy.lib.function_base" not in sys.modules
low, _ = package.xf3(torch.ones(1, 1, 8, 8))
assert abs(low.item() - 8) < 1e-5, low
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], cwd=ROOT, check=True)


@pytest.mark.slow
def test_a_run_of_the_reference_and_its_export(tmp_path: Path, monkeypatch, capsys, class_tree) -> None:
    monkeypatch.chdir(tmp_path)
    options = "-model wavemix_reference --weights none --image_size 32 --steps 1 -bs 8 --out run --data_dir"
    main(folder.DATASET, [*options.split(), str(class_tree())])
    assert "wavemix_reference from scratch" in capsys.readouterr().out
    command(["export", "run", "--format", "torchscript"])
    assert "largest logit difference from the original" in capsys.readouterr().out
