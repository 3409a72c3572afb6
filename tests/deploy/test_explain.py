"""Which regions support a class: the heat is where the evidence is."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fabricated import make_run
from PIL import Image
from torch import Tensor, nn

from common.__main__ import main as command
from common.models import explain
from common.models.build import create_model, get_backbone

SIDE = 64


class Channels(nn.Module):
    """Class c is the mean of channel c of a map at a stride of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.map = nn.Sequential(nn.AvgPool2d(4), nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> Tensor:
        return self.map(self.scale * images).mean((2, 3))


def blobs() -> Tensor:
    """Two images: red at the top left and blue at the bottom right."""
    images = torch.zeros(2, 3, SIDE, SIDE)
    images[:, 0, 8:16, 8:16] = 1
    images[:, 2, 40:56, 48:64] = 1
    return images


def test_the_heat_is_where_the_class_is() -> None:
    net = Channels().eval()
    explainer = explain.make_explainer(net, (SIDE, SIDE))
    assert explainer.method == explain.GRAD_CAM
    red, blue = explainer.explain(blobs(), torch.tensor([0, 2]))
    assert red.shape == (SIDE, SIDE) and red.max() == 1 and red.min() == 0
    assert red[8:16, 8:16].mean() > 0.7 and red[32:].max() == 0
    assert blue[42:54, 50:62].mean() == 1 and blue[:32].max() == 0


def test_the_gradient_is_where_the_class_is() -> None:
    red, blue = explain.input_gradient(Channels().eval(), blobs(), torch.tensor([0, 2]))
    assert red[8:16, 8:16].mean() > 0.5 and red[32:].max() == 0, "ReLU has no gradient at zero"
    assert blue[42:54, 50:62].mean() > 0.5 and blue[:32].max() == 0


@pytest.mark.parametrize(
    ("model", "size", "method"),
    [
        ("timm:test_resnet", (64, 64), explain.GRAD_CAM),
        ("timm:test_convnext", (64, 96), explain.GRAD_CAM),
        ("timm:test_vit", (160, 160), explain.GRADIENT),
        ("swin_t", (64, 64), explain.GRAD_CAM),  # its last map is channels-last, then permuted
        ("torchvision:squeezenet1_1", (64, 64), explain.GRAD_CAM),
        ("resnet18_cifar", (32, 32), explain.GRAD_CAM),
    ],
)
def test_every_kind_of_network(model: str, size: tuple[int, int], method: str) -> None:
    torch.manual_seed(0)
    net = create_model(get_backbone(model), 3, None).eval()
    explainer = explain.make_explainer(net, size)
    heat = explainer.explain(torch.randn(2, 3, *size), torch.tensor([0, 2]))
    assert explainer.method == method
    assert heat.shape == (2, *size) and heat.isfinite().all() and heat.min() >= 0 and heat.max() <= 1
    assert all(parameter.grad is None for parameter in net.parameters())


def test_grad_cam_is_captums() -> None:
    attr = pytest.importorskip("captum.attr", reason="captum is not installed")
    torch.manual_seed(0)
    net = create_model(get_backbone("timm:test_resnet"), 3, None).eval()
    images, classes = torch.randn(2, 3, SIDE, SIDE), torch.tensor([0, 2])
    layer = explain.final_map(net, images[:1])
    heat = attr.LayerGradCam(net, layer).attribute(images, classes, relu_attributions=True)
    expected = attr.LayerAttribution.interpolate(heat, (SIDE, SIDE), "bilinear")[:, 0]
    expected = expected / expected.amax((1, 2), keepdim=True).clamp(min=1e-12)
    torch.testing.assert_close(explain.grad_cam(net, layer, images, classes), expected.detach())


def test_predict_writes_pictures(tmp_path: Path, class_tree, capsys) -> None:
    """One per image that can be read, numbered as they are printed: two files may share a name."""
    images, out = class_tree(n=1), tmp_path / "why"
    (images / "ant" / "broken.jpg").write_bytes(b"no image")
    run = make_run(tmp_path / "run", "timm:test_resnet", 32)
    with pytest.raises(SystemExit) as stop:
        command(["predict", str(run), str(images), "--explain", str(out)])
    assert stop.value.code == 1 and len(capsys.readouterr().out.splitlines()) == 3
    assert sorted(path.name for path in out.iterdir()) == ["00001-ant_0.png", "00003-bee_0.png", "00004-cow_0.png"]
    both = np.asarray(Image.open(out / "00003-bee_0.png"))
    assert both.shape == (224, 448, 3), "the image, and on its right the image under the heat"
    assert not np.array_equal(both[:, :224], both[:, 224:])

    with pytest.raises(SystemExit) as stop:
        command(["predict", str(run), str(images), "--explain", str(out)])
    assert stop.value.code == 2 and f"{out} exists already" in capsys.readouterr().err
