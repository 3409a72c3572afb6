"""Convolutions that are computed otherwise on a CPU come to the same."""

import copy

import pytest
import torch
from torch import Tensor, nn

from common.models import build
from common.training.cpu_kernels import move_to

CPU = torch.device("cpu")
FORMAT = torch.channels_last


def gradients(net: nn.Module, images: Tensor) -> list[Tensor]:
    images = images.clone().requires_grad_()
    out = net(images)
    out.square().sum().backward()
    found = [out.detach(), images.grad, *(p.grad for p in net.parameters())]
    net.zero_grad()
    return found


@pytest.mark.parametrize(
    "part",
    [
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False),
        nn.Conv2d(8, 16, 7, stride=(2, 1), padding=3, groups=8),
        nn.Conv2d(3, 8, 1, stride=2, bias=False),
        nn.Conv2d(7, 4, 1, stride=(2, 3)),
    ],
)
def test_the_same_results_and_gradients(part: nn.Conv2d) -> None:
    images = torch.randn(2, part.in_channels, 17, 15)
    plain = gradients(part, images)  # not channels last: what torch computes there may end the process
    placed = copy.deepcopy(part)
    move_to(placed, CPU, FORMAT)
    for ours, theirs in zip(gradients(placed, images.contiguous(memory_format=FORMAT)), plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_strided_depthwise_convolution_stays_in_float32_under_autocast() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, groups=8))
    move_to(net, CPU, FORMAT)
    with torch.autocast("cpu", torch.bfloat16):
        seen = [(images := part(torch.randn(2, 8, 9, 9))).dtype for part in net]
    assert images.dtype == torch.bfloat16
    assert seen == [torch.float32, torch.bfloat16, torch.bfloat16]


def test_a_copy_computes_with_its_own_weights() -> None:
    net = nn.Conv2d(8, 8, 3, stride=2, groups=8, bias=False)
    move_to(net, CPU, FORMAT)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.weight.zero_()
    assert not twin(torch.randn(1, 8, 9, 9)).any()
    assert net(torch.randn(1, 8, 9, 9)).any()


def test_fastvit_trains_in_float32() -> None:
    """Its 1 x 1 convolution of three channels and stride 2 ended the process in torch 2.14."""
    net = build.create_model(build.get_backbone("fastvit_sa12"), 3, None)
    move_to(net, CPU, FORMAT)
    net(torch.randn(2, 3, 64, 64).contiguous(memory_format=FORMAT)).sum().backward()
